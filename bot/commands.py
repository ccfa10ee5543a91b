"""`/start`, `/help`, `/cancel`, and the short answer to everything that is neither command nor song."""

import logging

from telegram import Message, MessageEntity, Update
from telegram.error import TelegramError

from bot.admission import is_private
from bot.answers import answer
from bot.context import Context
from bot.introduction import introduce_to_admin
from bot.sources import MAX_DURATION_S
from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.translations import Translations
from stemdrop.domain.jobs import CANCELLABLE, JobState
from stemdrop.errors import TryLater
from stemdrop.services.orders import Orders
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)


class Commands:
    """The handlers for commands and for everything else. `max_bytes` is what `/help` names as the limit."""

    def __init__(
        self,
        store: JobStore,
        orders: Orders,
        users: Users,
        status: JobMessage,
        translations: Translations,
        max_bytes: int,
    ) -> None:
        self._store = store
        self._orders = orders
        self._users = users
        self._job_message = status
        self._translations = translations
        self._max_bytes = max_bytes

    async def start(self, update: Update, context: Context) -> None:
        """Say what this is; with a word behind it (`t.me/<bot>?start=<word>`), let its bearer in."""
        person = context.person
        if word := " ".join(context.args or ()):
            if await self._users.become_admin(person.id, word):
                log.info("user %d is the admin now", person.id)
                await self._users.set_name(person.id, person.name)
                await introduce_to_admin(context.bot, self._translations, person.id)
                await self._reply(update, context, "access.admin")
                return
            if not person.is_allowed and not await self._users.accept_invitation(person.id, word):
                await self._reply(update, context, "access.word_bad")
                return
            if not person.is_allowed:
                log.info("user %d was let in by an invitation", person.id)
                await self._users.set_name(person.id, person.name)
        key = "start" if is_private(update) else "group.how"
        await self._reply(update, context, key, bot=context.bot.username)

    async def help(self, update: Update, context: Context) -> None:
        """Say how it works and what it takes."""
        size = context.say.size(self._max_bytes)
        minutes = MAX_DURATION_S // 60
        bot = context.bot.username
        text = context.say("help", size=size, minutes=minutes)
        text += "\n\n" + context.say("help.commands" if is_private(update) else "group.how", bot=bot)
        if context.person.is_admin and is_private(update):
            text += "\n" + context.say("help.admin")
        if message := update.effective_message:
            await answer(message, text)

    async def cancel(self, update: Update, context: Context) -> None:
        """Cancel every job of this user in this chat that has no result yet."""
        message = update.effective_message
        if message is None:
            return
        this = str(update.update_id)
        jobs = [job for job in await self._store.jobs_of(context.person.id) if job.chat_id == message.chat_id]
        # handled again, after a bad moment, it tells of its own work
        mine = [job for job in jobs if job.state in CANCELLABLE or job.cancelled_by == this]
        # one without a message of its own is on its way to get a mode, or was refused one
        mine = [job for job in mine if job.message_id or job.state is not JobState.CHOOSING]
        # what waits in line first, or the end of another would begin it
        mine.sort(key=lambda job: job.state is not JobState.QUEUED)
        done = [job for job in mine if await self._orders.cancel(job, this)]
        say = context.say
        await answer(message, say.plural("cancel.done", len(done)) if done else say("cancel.nothing"))
        try:
            for job in done:
                await self._job_message.show_current(job.id)
        except (TelegramError, TryLater) as error:  # the sweep shows the ends that could not be shown now
            log.info("not every cancelled song could be shown so: %s", error)

    async def unknown(self, update: Update, context: Context) -> None:
        """A command that is not ours; in groups it may be meant for another bot."""
        if is_private(update):
            await self._reply(update, context, "other.command")

    async def anything(self, update: Update, context: Context) -> None:
        """Everything else a person may send; in groups people talk with each other."""
        message = update.effective_message
        if message is not None and is_private(update):
            await self._reply(update, context, _hint(message))

    async def _reply(self, update: Update, context: Context, key: str, **values: object) -> None:
        if message := update.effective_message:
            await answer(message, context.say(key, **values))


def _hint(message: Message) -> str:
    if message.parse_entities([MessageEntity.URL, MessageEntity.TEXT_LINK]):
        return "other.link"
    return "other.text" if message.text else "other.anything"
