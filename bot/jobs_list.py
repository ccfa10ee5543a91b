"""`/jobs`: somebody's own songs, open and recent, each with what can be done about it."""

import logging
import time
from collections.abc import Callable, Mapping
from enum import StrEnum

from telegram import Bot, Chat, InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.constants import ChatType
from telegram.error import TelegramError

from bot.answers import answer, answer_tap, button, number_of, rewrite
from bot.context import Context
from stemdrop.chat.callback_data import Screen, ScreenTap
from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.rendering import TITLE_LENGTH, Rendered, render_over_limit, short_title
from stemdrop.chat.translations import Language
from stemdrop.domain.failures import Remedy, remedies
from stemdrop.domain.jobs import CANCELLABLE, CREDITS, Job, JobState, Mode
from stemdrop.domain.titles import in_sentence
from stemdrop.errors import TryLater
from stemdrop.log_context import bind_job
from stemdrop.services.orders import Ordered, Orders, Tapped
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.users import Users
from stemdrop.tasks.incoming_updates import received_at

log = logging.getLogger(__name__)

PAGE_LENGTH = 5
# Of somebody's songs; each page looks at so many.
LISTED = 200


class _Letter(StrEnum):
    """What a button of the list does."""

    TURN = "p"
    CANCEL = "x"
    RETRY = "r"
    FETCH = "f"
    RESEND = "s"


class JobsList:
    """The handlers for `/jobs` and its buttons, which obey only who asked for them."""

    def __init__(
        self,
        store: JobStore,
        orders: Orders,
        users: Users,
        status: JobMessage,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._orders = orders
        self._users = users
        self._job_message = status
        self._clock = clock

    async def show(self, update: Update, context: Context) -> None:
        """List them, the newest first."""
        if message := update.effective_message:
            shown = await self._page(message.chat, context.person.id, context.bot, context.say, 0)
            await answer(message, *shown)

    async def tap(self, update: Update, context: Context) -> None:
        """Turn the page, or do what the button says and show the list anew."""
        query, say = update.callback_query, context.say
        if query is None:
            return
        choice = ScreenTap.from_data(query.data or "")
        words = choice.words if choice else ()
        if len(words) < 3 or query.message is None:
            await answer_tap(query, say("tap.stale_screen"))
            return
        chat, asker, page = query.message.chat, words[0], number_of(words[2]) or 0
        if asker != str(query.from_user.id):
            await answer_tap(query, say("tap.not_asked"))
            return
        ordered = Ordered("")
        if words[1] != _Letter.TURN:
            job = await self._store.get(words[3]) if len(words) == 4 else None
            # of a group's song nothing is sent there again on the quiet
            is_elsewhere = words[1] == _Letter.RESEND and job is not None and job.chat_id != chat.id
            if job is None or job.account != query.from_user.id or is_elsewhere:
                await answer_tap(query, say("tap.stale_screen"))
                return
            bind_job(job.id, job.task_id)
            ordered = await self._act(words[1], job, Tapped(query.id, received_at(update)))
            if ordered.over:
                text = render_over_limit(job, say, job.mode or Mode.SEPARATE_VOCAL, ordered.over)
                await answer_tap(query, text, is_alert=True)
                return
        # first, since writing the messages may have to wait for Telegram's limits
        await answer_tap(query, say(ordered.note) if ordered.note else None)
        shown = await self._page(chat, query.from_user.id, context.bot, say, page)
        try:
            if ordered.job_id:
                await self._job_message.show_current(ordered.job_id)
            await rewrite(query, *shown)
        except (TelegramError, TryLater) as error:
            # not again: what was ordered may be done by then, and would be ordered twice
            log.warning("the list of user %d's songs could not be shown: %s", query.from_user.id, error)

    async def _act(self, letter: str, job: Job, tapped: Tapped) -> Ordered:
        match letter:
            case _Letter.CANCEL:
                return Ordered(job.id, None if await self._orders.cancel(job) else "tap.too_late")
            case _Letter.RETRY:
                return await self._orders.retry(job)
            case _Letter.FETCH:
                return await self._orders.fetch_again(job)
            case _Letter.RESEND:
                return await self._orders.resend(job, tapped)
        return Ordered(job.id, "tap.stale_screen")

    async def _page(self, chat: Chat, asker: int, bot: Bot, say: Language, page: int) -> Rendered:
        jobs = _picked(await self._store.jobs_of(asker, LISTED))
        if chat.type != ChatType.PRIVATE:  # what they do elsewhere is nobody's business here
            jobs = [job for job in jobs if job.chat_id == chat.id]
        last = max(0, len(jobs) - 1) // PAGE_LENGTH
        page = min(max(0, page), last)
        first = page * PAGE_LENGTH
        shown = list(enumerate(jobs[first : first + PAGE_LENGTH], first + 1))
        lines = [say("jobs.head" if jobs else "jobs.none")]
        elsewhere = {job.chat_id for _, job in shown} - {chat.id}
        where = {chat_id: await _where(bot, chat_id, say) for chat_id in sorted(elsewhere)}
        lines += [f"{number}. {await self._line(job, where, say)}" for number, job in shown]
        lines += await self._account(asker, say)
        rows = [
            [button(f"{number}. {label}", Screen.JOBS, asker, letter, page, job.id)]
            for number, job in shown
            for letter, label in await self._offered(job, chat, say)
        ]
        rows.append(_account_queue(asker, page, last))
        keyboard = InlineKeyboardMarkup([row for row in rows if row]) if any(rows) else None
        return "\n".join(lines), keyboard

    async def _line(self, job: Job, where: Mapping[int, str], say: Language) -> str:
        parts = [say("quoted", text=short_title(job, say))]
        parts += [say.mode_name(job.mode, job.instrument)] if job.mode else []
        parts += [where[job.chat_id]] if job.chat_id in where else []
        return " · ".join([*parts, await self._state(job, say)])

    async def _state(self, job: Job, say: Language) -> str:
        match job.state:
            case JobState.QUEUED:
                return say("jobs.queued", place=max(1, await self._store.place(job)))
            case JobState.SEPARATING:
                gone = say.duration(self._clock() - (job.create_started_at or job.moved_at))
                return say("jobs.separating", gone=gone)
            case JobState.DELIVERED:
                return say.plural("jobs.delivered", len(await self._store.sent(job.id)))
            case JobState.FAILED:
                return say("jobs.failed", code=job.failure.code if job.failure else "")
        return say(f"jobs.{job.state}")

    async def _account(self, asker: int, say: Language) -> list[str]:
        if not (limit := await self._users.limit(asker)):
            return []
        today = await self._store.allowance(asker, limit)
        time_left = say.duration(today.renews_in_s)
        spent, most = say.number(today.spent), say.number(limit)
        return ["", say("jobs.today", spent=spent, limit=most, time=time_left)]

    async def _offered(self, job: Job, chat: Chat, say: Language) -> list[tuple[str, str]]:
        """The letter and the label of each button that helps."""
        if job.state in CANCELLABLE:
            return [(_Letter.CANCEL, say("button.cancel"))]
        offered: list[tuple[str, str]] = []
        if job.is_undelivered or (job.state is JobState.DELIVERED and job.missing):
            offered.append((_Letter.FETCH, say("button.fetch_again")))
        elif job.failure and job.mode and Remedy.RETRY in remedies(job.failure):
            is_free = (job.mode, job.instrument) in (await self._job_message.details(job)).free
            price = say("price.free") if is_free else say.credits(CREDITS[job.mode])
            offered.append((_Letter.RETRY, say("button.retry", price=price)))
        if job.state is JobState.DELIVERED and job.chat_id == chat.id:
            sent = await self._store.sent(job.id)
            if any(stem.file_id for stem in sent.values()):
                offered.append((_Letter.RESEND, say("button.resend")))
        return offered


def _picked(jobs: list[Job]) -> list[Job]:
    """Those for which a way of splitting was chosen; of tries under one message only the last."""
    shown: list[Job] = []
    messages: set[tuple[int, int]] = set()
    for job in jobs:
        message = (job.chat_id, job.message_id)
        if job.mode is None or job.state is JobState.CHOOSING or (job.message_id and message in messages):
            continue
        messages.add(message)
        shown.append(job)
    return shown


async def _where(bot: Bot, chat_id: int, say: Language) -> str:
    """In which group a song is; the bot may be no longer there."""
    try:
        title = (await bot.get_chat(chat_id)).title
    except (TelegramError, TryLater) as error:
        log.info("chat %d has no name: %s", chat_id, error)
        title = None
    if not title:
        return say("jobs.in_a_group")
    return say("jobs.in_group", group=in_sentence(title, TITLE_LENGTH))


def _account_queue(asker: int, page: int, last: int) -> list[InlineKeyboardButton]:
    return [
        button(sign, Screen.JOBS, asker, _Letter.TURN, page + step)
        for sign, step in (("‹", -1), ("›", 1))
        if 0 <= page + step <= last
    ]
