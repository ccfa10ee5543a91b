"""`/admin`: running and failed jobs with what an admin can do about them, the credits left, and the cache."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from telegram import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.error import TelegramError

from bot.access import is_for_admin
from bot.context import Context
from bot.job_actions import JobActions
from bot.provider_lines import CREDITS_WAIT_S, ProviderLines
from bot.replies import answer_tap, edit, reply, tapped_words
from stemdrop.chat.callback_data import Screen
from stemdrop.chat.rendering import Rendered, short_title
from stemdrop.chat.screen_buttons import button
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import Job, JobState
from stemdrop.domain.taps import Tapped
from stemdrop.errors import BadContract, SeparationError, TryLater
from stemdrop.log_context import bind_job
from stemdrop.provider.registry import Providers
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.stem_cache import StemCache
from stemdrop.storage.users import Users
from stemdrop.tasks.incoming_updates import received_at

log = logging.getLogger(__name__)

# How many failed, delivered and running jobs are listed.
FAILED_SHOWN, DELIVERED_SHOWN, RUNNING_SHOWN = 6, 3, 3

_REFRESH, _ASK_CLEAR, _CLEAR = "v", "k", "K"
_RUNNING = (JobState.QUEUED, JobState.SUBMITTING, JobState.SEPARATING, JobState.DELIVERING)


@dataclass(frozen=True, kw_only=True)
class Admin:
    """The handlers for `/admin` and its buttons."""

    store: JobStore
    actions: JobActions
    users: Users
    stem_cache: StemCache
    providers: Providers
    abilities: AbilitiesCache
    provider_lines: ProviderLines
    clock: Callable[[], float] = time.time

    async def command(self, update: Update, context: Context) -> None:
        message = update.effective_message
        if message and await is_for_admin(update, context):
            await reply(message, *await self._overview(context.translate))

    async def tap(self, update: Update, context: Context) -> None:
        """Do what the button says and show the overview; the job's user sees the change in their own chat."""
        query, translate = update.callback_query, context.translate
        if query is None or not await is_for_admin(update, context):
            return
        match tapped_words(query):
            case (letter,) if letter == _REFRESH:
                await answer_tap(query, None)
                await edit(query, *await self._overview(translate))
            case (letter,) if letter == _ASK_CLEAR:
                await answer_tap(query, None)
                await edit(query, *await self._question(translate))
            case (letter,) if letter == _CLEAR:
                count = await self.stem_cache.forget_all()
                log.info("admin %d cleared the cache of %d", context.person.id, count)
                await answer_tap(query, translate("admin.cleared", count=translate.number(count)))
                await edit(query, *await self._overview(translate))
            case (letter, job_id) if job := await self.store.get(job_id):
                await self._act(letter, job, Tapped(query.id, received_at(update)), query, context)
            case _:
                await answer_tap(query, translate("tap.stale_screen"))

    async def _act(
        self, letter: str, job: Job, tapped: Tapped, query: CallbackQuery, context: Context
    ) -> None:
        bind_job(job.id, job.task_id)
        ordered = await self.actions.perform(letter, job, tapped, is_unlimited=True)
        log.info("admin %d: job %s: %s", context.person.id, job.id, letter)
        await answer_tap(query, context.translate(ordered.note or "ordered"))
        if changed := await self.store.get(ordered.job_id):
            await self.actions.show([changed])
        try:
            await edit(query, *await self._overview(context.translate))
        except (TelegramError, TryLater) as error:  # raising would have the tap handled, and ordered, again
            log.warning("the overview could not be shown: %s", error)

    async def _overview(self, translate: Language) -> Rendered:
        failed = await self.store.failed_jobs(FAILED_SHOWN)
        delivered = await self.store.delivered_jobs(DELIVERED_SHOWN)
        cached = await self.stem_cache.count()
        lines = [*await self._running(translate), "", *await self._credits(translate)]
        lines += [translate("admin.kept", count=translate.number(cached)), ""]
        lines.append(translate("admin.failed" if failed else "admin.none_failed"))
        rows: list[list[InlineKeyboardButton]] = []
        for number, job in enumerate([*failed, *delivered], 1):
            if number == len(failed) + 1:
                lines += ["", translate("admin.delivered")]
            lines.append(f"{number}. {await self._line(job, translate)}")
            rows += [
                [button(f"{number}. {label}", Screen.ADMIN, letter, job.id)]
                for letter, label in (await self.actions.offered(job, translate))[:1]
            ]
        if cached:
            label = translate("button.clear_kept", count=translate.number(cached))
            rows.append([button(label, Screen.ADMIN, _ASK_CLEAR)])
        rows.append([button(translate("button.look_again"), Screen.ADMIN, _REFRESH)])
        return "\n".join(lines), InlineKeyboardMarkup(rows)

    async def _running(self, translate: Language) -> list[str]:
        jobs = [job for job in await self.store.open_jobs() if job.state in _RUNNING]
        if not jobs:
            return [translate("admin.idle")]
        counts = Counter(job.state for job in jobs)
        lines = [
            translate(f"admin.{state}", count=translate.number(counts[state]))
            for state in _RUNNING
            if counts[state]
        ]
        lines.append(translate("admin.running_longest"))
        for job in sorted(jobs, key=_began_at)[:RUNNING_SHOWN]:
            lines.append(
                f"• {await self._title(job, translate)} · {translate.duration(self.clock() - _began_at(job))}"
            )
        return lines

    async def _credits(self, translate: Language) -> list[str]:
        if self.provider_lines.titles:
            return await self.provider_lines.all(translate)
        if (await self.abilities.get()).is_free:
            return []
        try:
            async with asyncio.timeout(CREDITS_WAIT_S):
                credits = await self.providers.asked[0].balance()
            return [translate("admin.credits", credits=translate.number(round(credits or 0)))]
        except (SeparationError, BadContract, TimeoutError) as error:
            log.warning("the credits left are not known: %s", error or "no answer in time")
            return [translate("admin.credits_unknown")]

    async def _line(self, job: Job, translate: Language) -> str:
        ago = translate("admin.ago", time=translate.duration(self.clock() - job.moved_at))
        code = [translate("jobs.failed", code=job.failure.code)] if job.failure else []
        return " · ".join([await self._title(job, translate), *code, ago])

    async def _title(self, job: Job, translate: Language) -> str:
        user = (await self.users.person(job.account)).called
        mode = [translate.mode_name(job.mode, job.instrument)] if job.mode else []
        return " · ".join([translate("quoted", text=short_title(job, translate)), *mode, user])

    async def _question(self, translate: Language) -> Rendered:
        count = translate.number(await self.stem_cache.count())
        yes = button(translate("button.clear_kept", count=count), Screen.ADMIN, _CLEAR)
        no = button(translate("button.back"), Screen.ADMIN, _REFRESH)
        is_free = (await self.abilities.get()).is_free
        question = translate("admin.clear_free" if is_free else "admin.clear", count=count)
        return question, InlineKeyboardMarkup([[yes], [no]])


def _began_at(job: Job) -> float:
    return job.create_started_at or job.moved_at
