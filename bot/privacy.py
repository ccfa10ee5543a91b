"""`/privacy`: what is kept of somebody and for how long. `/delete`: all of it goes."""

import logging
from ipaddress import ip_address
from urllib.parse import urlsplit

from telegram import InlineKeyboardMarkup, Update
from telegram.error import TelegramError

from bot.admission import is_private
from bot.answers import answer, answer_tap, button, rewrite
from bot.context import Context
from stemdrop.chat.callback_data import Screen, ScreenTap
from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import CANCELLABLE, Job, JobState
from stemdrop.errors import TryLater
from stemdrop.services.orders import Orders
from stemdrop.settings import Settings
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.keys import DAY_S, JOB_LIFETIME_S, KEPT_LIFETIME_S, SPENT_LIFETIME_S
from stemdrop.storage.stem_cache import StemCache
from stemdrop.storage.users import Users
from stemdrop.tasks.engine import UPDATE_RECORD_LIFETIME

log = logging.getLogger(__name__)

_YES, _NO = "y", "n"
# A message that is not written before its job is forgotten never will be: Telegram's limits are waited for.
_PATIENCE_S = 60.0
# Names that lead nowhere on the internet (RFC 6761, 6762, 8375, and `.internal`), as those without a dot do.
_OWN_DOMAINS = (".localhost", ".local", ".internal", ".home.arpa")


class Privacy:
    """The handlers for `/privacy`, `/delete` and its buttons; strangers may use them too."""

    def __init__(
        self,
        store: JobStore,
        orders: Orders,
        users: Users,
        stem_cache: StemCache,
        status: JobMessage,
        settings: Settings,
    ) -> None:
        self._store = store
        self._orders = orders
        self._users = users
        self._stem_cache = stem_cache
        self._job_message = status
        self._settings = settings

    async def explain(self, update: Update, context: Context) -> None:
        """Say what is kept, by the settings and lifetimes in force."""
        if message := update.effective_message:
            await answer(message, explanation(self._settings, context.say))

    async def ask(self, update: Update, context: Context) -> None:
        """Ask before anything is deleted; what is the answer to that is nobody else's business."""
        message, say = update.effective_message, context.say
        if message is None:
            return
        if not is_private(update):
            await answer(message, say("ask_in_private"))
            return
        asker = context.person.id
        rows = [
            [button(say("button.delete"), Screen.DELETE, asker, _YES)],
            [button(say("button.keep"), Screen.DELETE, asker, _NO)],
        ]
        await answer(message, say("delete.ask"), InlineKeyboardMarkup(rows))

    async def tap(self, update: Update, context: Context) -> None:
        """Delete, or leave everything as it is, and say which."""
        query, say = update.callback_query, context.say
        if query is None:
            return
        choice = ScreenTap.from_data(query.data or "")
        match choice.words if choice else ():
            case (asker, _) if asker != str(query.from_user.id):
                await answer_tap(query, say("tap.not_asked"))
            case (_, word) if word == _NO:
                await answer_tap(query, None)
                await rewrite(query, say("delete.kept"))
            case (_, word) if word == _YES:
                await answer_tap(query, None)
                text = await self._delete(query.from_user.id, query.id, say)
                await rewrite(query, text)
            case _:
                await answer_tap(query, say("tap.stale_screen"))

    async def _delete(self, user_id: int, tap_id: str, say: Language) -> str:
        """Returns what there was, also when a tap is handled again because that could not be said."""
        songs, cached = await self._users.counted(tap_id, await self._count(user_id))
        cancelled = await self._cancel_all(user_id)
        await self._show(cancelled)
        for job in await self._store.jobs_of(user_id):
            if job.state is JobState.DELIVERING:
                await self._show_deleted(job)
            await self._store.forget(job.id)
        await self._stem_cache.forget_of(user_id)
        await self._users.forget(user_id)
        log.info("user %d had everything deleted: %d songs, %d kept", user_id, songs, cached)
        lines = [
            say.plural("delete.songs", songs),
            say.plural("delete.kept_songs", cached),
            say("delete.choices"),
            "",
            say("delete.stays", days=SPENT_LIFETIME_S // DAY_S),
        ]
        return "\n".join(lines)

    async def _count(self, user_id: int) -> tuple[int, int]:
        """Songs, however often each was tried, and splits that are kept."""
        jobs = await self._store.jobs_of(user_id)
        # in a group that migrated the song's message has no number
        songs = {(job.chat_id, job.source_message_id or job.source.file_unique_id) for job in jobs}
        return len(songs), await self._stem_cache.count_of(user_id)

    async def _cancel_all(self, user_id: int) -> list[Job]:
        """Cancel what can be; what waits in line first, or the end of another would begin it."""
        jobs = [job for job in await self._store.jobs_of(user_id) if job.state in CANCELLABLE]
        jobs.sort(key=lambda job: job.state is not JobState.QUEUED)
        return [job for job in jobs if await self._orders.cancel(job)]

    async def _show(self, jobs: list[Job]) -> None:
        """Best effort: buttons that stay say that they no longer do anything."""
        for job in jobs:
            try:
                if current := await self._store.get(job.id):
                    await self._job_message.show(current, _PATIENCE_S)
            except (TelegramError, TryLater) as error:
                log.info("job %s: that it is cancelled could not be shown: %s", job.id, error)

    async def _show_deleted(self, job: Job) -> None:
        """Best effort: nobody will write the job's message again, and it said that stems are being sent."""
        try:
            await self._job_message.show_deleted(job, _PATIENCE_S)
        except (TelegramError, TryLater) as error:
            log.info("job %s: that it is deleted could not be shown: %s", job.id, error)


def explanation(settings: Settings, say: Language) -> str:
    """What is kept, for how long, and who else gets to hear the song."""
    return "\n\n".join(
        [
            say("privacy.head"),
            say("privacy.audio"),
            *([say("privacy.local_server")] if settings.telegram_local_mode else []),
            _passed_on(settings, say),
            say("privacy.jobs", days=JOB_LIFETIME_S // DAY_S),
            say("privacy.shelf", days=KEPT_LIFETIME_S // DAY_S),
            say("privacy.credits", days=SPENT_LIFETIME_S // DAY_S),
            say("privacy.person"),
            say("privacy.messages", time=say.duration(UPDATE_RECORD_LIFETIME.total_seconds())),
            say("privacy.operator"),
            say("privacy.logs"),
            say("privacy.delete"),
        ]
    )


def _passed_on(settings: Settings, say: Language) -> str:
    """Who splits the songs, and what is known of how long they are kept there."""
    service = urlsplit(settings.separation_api_url).hostname or ""
    host = urlsplit(settings.upload_url).hostname or ""
    if _is_own(service) and (settings.public_url or _is_own(host)):
        return say("privacy.own_separator")
    if settings.public_url:
        return say("privacy.fetched", service=service)
    return say("privacy.uploaded", service=service, host=host)


def _is_own(host: str) -> bool:
    """Whether only the operator's own network can mean something by it."""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_OWN_DOMAINS)
    return address.is_private or address.is_loopback
