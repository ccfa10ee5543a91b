"""Which jobs a person may open in the mixer."""

from collections.abc import Callable

from telegram import Bot
from telegram.error import BadRequest, Forbidden

from stemdrop.chat.members import is_in_chat
from stemdrop.domain.jobs import Job
from stemdrop.errors import ForgedRequest, SourceGone
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.users import Person, Users

_MEMBERSHIP_AGE_S = 60
_MAX_MEMBERSHIPS = 1000


class MixerAccess:
    """Decides by the access to the bot, the owner of the job and, for a group's jobs, the group's members.

    `clock` returns Unix seconds.
    """

    def __init__(self, store: JobStore, users: Users, bot: Bot, clock: Callable[[], float]) -> None:
        self._store = store
        self._users = users
        self._bot = bot
        self._clock = clock
        # (chat, user) → whether the user is a member, and until when (Unix seconds) that is believed
        self._memberships: dict[tuple[int, int], tuple[bool, float]] = {}

    async def job(self, job_id: str, user_id: int) -> tuple[Job, Person]:
        """Return a job that this user may open.

        Raises `ForgedRequest` if the user may not, `SourceGone` if there is no such job, `StoreUnavailable`,
        and `TelegramError` if Telegram does not say whether the user is in the group.
        """
        job = await self._store.get(job_id)
        person = await self._users.person(user_id, job.chat_id if job else 0)
        if not person.is_allowed:
            raise ForgedRequest("a stranger opened the mixer")
        if job is None:
            raise SourceGone("the job of the mixer is gone")
        is_group = job.chat_id < 0
        if job.user_id != user_id and not (is_group and job.user_id == 0):
            raise ForgedRequest("another user's job was opened in the mixer")
        # mixes of a group's job are sent to the group
        if is_group and not await self._is_member(job.chat_id, user_id):
            raise ForgedRequest("the mixer was opened for a group by one who is not in it")
        return job, person

    async def _is_member(self, chat_id: int, user_id: int) -> bool:
        key, now = (chat_id, user_id), self._clock()
        is_member, until = self._memberships.get(key, (False, 0.0))
        if until <= now:
            try:
                is_member = is_in_chat(await self._bot.get_chat_member(chat_id, user_id))
            except (BadRequest, Forbidden):  # the user was never there, or the bot is out
                is_member = False
            if len(self._memberships) >= _MAX_MEMBERSHIPS:
                self._memberships.clear()
            self._memberships[key] = (is_member, now + _MEMBERSHIP_AGE_S)
        return is_member
