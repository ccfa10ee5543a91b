"""`/admin`: what runs, what failed and what an admin can do about it, credits, and what Telegram keeps."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.error import TelegramError

from bot.admission import is_for_admin
from bot.answers import answer, answer_tap, button, rewrite
from bot.context import Context
from stemdrop.chat.callback_data import Screen, ScreenTap
from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.rendering import Rendered, short_title
from stemdrop.chat.translations import Language
from stemdrop.domain.failures import Remedy, remedies
from stemdrop.domain.jobs import CREDITS, Job, JobState
from stemdrop.errors import BadContract, SeparationError, TryLater
from stemdrop.log_context import bind_job
from stemdrop.provider.client import SeparationClient
from stemdrop.services.orders import Ordered, Orders, Tapped
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.stem_cache import StemCache
from stemdrop.storage.users import Users
from stemdrop.tasks.incoming_updates import received_at

log = logging.getLogger(__name__)

# So many of the last jobs, and of those that run, are listed.
FAILED_SHOWN, DELIVERED_SHOWN, RUNNING_SHOWN = 6, 3, 3
# The screen is to come soon, also where the separation API does not.
CREDITS_WAIT_S = 3

_LOOK, _RETRY, _FETCH, _RESEND, _ASK_CLEAR, _CLEAR = "v", "r", "f", "s", "k", "K"
_RUNNING = (JobState.QUEUED, JobState.SUBMITTING, JobState.SEPARATING, JobState.DELIVERING)


class Admin:
    """The handlers for `/admin` and its buttons."""

    def __init__(
        self,
        store: JobStore,
        orders: Orders,
        users: Users,
        stem_cache: StemCache,
        separation: SeparationClient,
        status: JobMessage,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._orders = orders
        self._users = users
        self._stem_cache = stem_cache
        self._separation = separation
        self._job_message = status
        self._clock = clock

    async def command(self, update: Update, context: Context) -> None:
        """Show how things are."""
        message = update.effective_message
        if message and await is_for_admin(update, context):
            await answer(message, *await self._snapshots(context.say))

    async def tap(self, update: Update, context: Context) -> None:
        """Do what the button says and show how things are now; the job's user sees it in their own chat."""
        query, say = update.callback_query, context.say
        if query is None or not await is_for_admin(update, context):
            return
        choice = ScreenTap.from_data(query.data or "")
        match choice.words if choice else ():
            case (letter,) if letter == _LOOK:
                await answer_tap(query, None)
                await rewrite(query, *await self._snapshots(say))
            case (letter,) if letter == _ASK_CLEAR:
                await answer_tap(query, None)
                await rewrite(query, *await self._clearing(say))
            case (letter,) if letter == _CLEAR:
                count = await self._stem_cache.forget_all()
                log.info("admin %d cleared the shelf of %d", context.person.id, count)
                await answer_tap(query, say("admin.cleared", count=say.number(count)))
                await rewrite(query, *await self._snapshots(say))
            case (letter, job_id) if job := await self._store.get(job_id):
                bind_job(job_id, job.task_id)
                ordered = await self._act(letter, job, Tapped(query.id, received_at(update)))
                log.info("admin %d: job %s: %s", context.person.id, job.id, letter)
                await answer_tap(query, say(ordered.note or "ordered"))
                try:
                    await self._show_user(ordered.job_id)
                    await rewrite(query, *await self._snapshots(say))
                except (TelegramError, TryLater) as error:  # not again: it would be ordered twice
                    log.warning("the overview could not be shown: %s", error)
            case _:
                await answer_tap(query, say("tap.stale_screen"))

    async def _act(self, letter: str, job: Job, tapped: Tapped) -> Ordered:
        if letter == _RETRY:
            return await self._orders.retry(job, is_unlimited=True)
        if letter == _FETCH:
            return await self._orders.fetch_again(job)
        if letter == _RESEND:
            return await self._orders.resend(job, tapped)
        return Ordered(job.id, "tap.stale_screen")

    async def _show_user(self, job_id: str) -> None:
        try:
            await self._job_message.show_current(job_id)
        except TelegramError as error:  # they may have blocked the bot
            log.info("job %s: its user could not be shown: %s", job_id, error)

    async def _snapshots(self, say: Language) -> Rendered:
        failed = await self._store.failed_jobs(FAILED_SHOWN)
        delivered = await self._store.delivered_jobs(DELIVERED_SHOWN)
        cached = await self._stem_cache.count()
        lines = [*await self._running(say), "", await self._credits(say)]
        lines += [say("admin.kept", count=say.number(cached)), ""]
        lines.append(say("admin.failed" if failed else "admin.none_failed"))
        rows: list[list[InlineKeyboardButton]] = []
        for number, job in enumerate([*failed, *delivered], 1):
            if number == len(failed) + 1:
                lines += ["", say("admin.delivered")]
            lines.append(f"{number}. {await self._line(job, say)}")
            rows += [
                [button(f"{number}. {label}", Screen.ADMIN, letter, job.id)]
                for letter, label in await self._offered(job, say)
            ]
        if cached:
            rows.append(
                [button(say("button.clear_kept", count=say.number(cached)), Screen.ADMIN, _ASK_CLEAR)]
            )
        rows.append([button(say("button.look_again"), Screen.ADMIN, _LOOK)])
        return "\n".join(lines), InlineKeyboardMarkup(rows)

    async def _running(self, say: Language) -> list[str]:
        jobs = [job for job in await self._store.open_jobs() if job.state in _RUNNING]
        if not jobs:
            return [say("admin.idle")]
        counters = Counter(job.state for job in jobs)
        lines = [
            say(f"admin.{state}", count=say.number(counters[state])) for state in _RUNNING if counters[state]
        ]
        lines.append(say("admin.running_longest"))
        for job in sorted(jobs, key=_began_at)[:RUNNING_SHOWN]:
            lines.append(f"• {await self._what(job, say)} · {say.duration(self._clock() - _began_at(job))}")
        return lines

    async def _credits(self, say: Language) -> str:
        try:
            async with asyncio.timeout(CREDITS_WAIT_S):
                credits = await self._separation.credits()
            return say("admin.credits", credits=say.number(round(credits)))
        except (SeparationError, BadContract, TimeoutError) as error:
            log.warning("the credits left are not known: %s", error or "no answer in time")
            return say("admin.credits_unknown")

    async def _line(self, job: Job, say: Language) -> str:
        ago = say("admin.ago", time=say.duration(self._clock() - job.moved_at))
        code = [say("jobs.failed", code=job.failure.code)] if job.failure else []
        return " · ".join([await self._what(job, say), *code, ago])

    async def _what(self, job: Job, say: Language) -> str:
        who = (await self._users.person(job.account)).called
        how = [say.mode_name(job.mode, job.instrument)] if job.mode else []
        return " · ".join([say("quoted", text=short_title(job, say)), *how, who])

    async def _offered(self, job: Job, say: Language) -> list[tuple[str, str]]:
        """The letter and the label of what may help: stems that are paid for are not bought again."""
        if job.is_undelivered or (job.state is JobState.DELIVERED and job.missing):
            return [(_FETCH, say("button.fetch_again"))]
        if job.state is JobState.DELIVERED:
            return [(_RESEND, say("button.resend"))] if await self._has_sent(job) else []
        if job.mode is None or job.failure is None or Remedy.RETRY not in remedies(job.failure):
            return []
        is_free = (job.mode, job.instrument) in (await self._job_message.details(job)).free
        price = say("price.free") if is_free else say.credits(CREDITS[job.mode])
        return [(_RETRY, say("button.retry", price=price))]

    async def _has_sent(self, job: Job) -> bool:
        return any(stem.file_id for stem in (await self._store.sent(job.id)).values())

    async def _clearing(self, say: Language) -> Rendered:
        count = say.number(await self._stem_cache.count())
        yes = button(say("button.clear_kept", count=count), Screen.ADMIN, _CLEAR)
        no = button(say("button.back"), Screen.ADMIN, _LOOK)
        return say("admin.clear", count=count), InlineKeyboardMarkup([[yes], [no]])


def _began_at(job: Job) -> float:
    """Since when it is under way, or waits."""
    return job.create_started_at or job.moved_at
