"""Periodic, once over all workers: late jobs are polled, and whatever died in between is moved on.

Each state of a job that waits for somebody ends here when that somebody does not come.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from telegram.error import BadRequest, TelegramError

from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.telegram_bot import is_gone
from stemdrop.domain.jobs import FINAL, Failure, Job, JobState, is_overtaken
from stemdrop.errors import StemdropError
from stemdrop.log_context import bind_job
from stemdrop.services.account_queue import AccountQueue
from stemdrop.services.result_polling import ResultPolling
from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Engine, Task

log = logging.getLogger(__name__)

# What is refused, or breaks, for this long always will be; a Telegram that is away comes back.
SHOW_FOR_S = 3600
SHOW_AWAY_S = 24 * 3600
# A task that ran out of time is asked for so much longer, ever more rarely: whatever comes is paid for.
LATE_FOR_S = 24 * 3600
LATE_AT_ONCE = 100
_LATE_EVERY = 0.1  # of the time since it was given up
AT_ONCE = 8
# The clocks of two machines differ by less.
CLOCK_SKEW_S = 60
_TIMES = ("moved_at", "create_started_at", "polled_at", "shown_at")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """When the sweep acts; all in seconds since the job's last move."""

    poll_after_s: float
    poll_interval_s: float
    job_timeout_s: float
    has_callbacks: bool


class Recovery:
    """One pass over all jobs that are not closed."""

    def __init__(
        self,
        *,
        store: JobStore,
        engine: Engine,
        polling: ResultPolling,
        job_message: JobMessage,
        account_queue: AccountQueue,
        deadlines: Deadlines,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._engine = engine
        self._polling = polling
        self._job_message = job_message
        self._account_queue = account_queue
        self._deadlines = deadlines
        self._clock = clock

    async def run(self) -> None:
        """Look after every job, a few at a time; trouble with one is logged and keeps none of the others."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def look_after(job: Job, step: Callable[[Job], Awaitable[None]]) -> None:
            bind_job(job.id, job.task_id)
            async with slots:
                try:
                    await step(job)
                except (TelegramError, StemdropError) as error:
                    log.warning("job %s: %s: %s", job.id, type(error).__name__, error)
                except Exception as error:  # whatever is wrong with one job, the others are looked after
                    log.error("job %s: %s: %s", job.id, type(error).__name__, error)
                    log.debug("job %s", job.id, exc_info=True)

        async with asyncio.TaskGroup() as group:
            for job in await self._store.open_jobs():
                group.create_task(look_after(job, self._look_after))
            for job in await self._store.late_jobs(LATE_AT_ONCE):
                group.create_task(look_after(job, self._look_for_late))

    async def _look_after(self, job: Job) -> None:
        job = await self._in_our_time(job)
        age_s = self._clock() - job.moved_at
        match job.state:
            case JobState.SUBMITTING:
                await self._submitting(job, age_s)
            case JobState.SEPARATING:
                await self._separating(job, age_s)
            case JobState.DELIVERING:
                await self._engine.add(Task.DELIVER, job.id, job.id)
            case JobState.QUEUED:
                await self._account_queue.next(job.account)
            case _ if job.state in FINAL:
                try:
                    await self._end(job, age_s)
                finally:
                    await self._account_queue.next(job.account)

    async def _in_our_time(self, job: Job) -> Job:
        """After a clock was set back the job's times lie ahead: nothing would be done for it until then."""
        now = self._clock()
        ahead = {name: now for name in _TIMES if getattr(job, name) > now + CLOCK_SKEW_S}
        if not ahead:
            return job
        log.warning("job %s: its times lie ahead, a clock was set back", job.id)
        await self._store.set(job.id, **ahead)
        return await self._store.get(job.id) or job

    async def _submitting(self, job: Job, age_s: float) -> None:
        timeout_s = self._deadlines.job_timeout_s
        started_at = job.create_started_at
        if started_at and self._clock() - started_at > timeout_s:
            await self._fail(job, Failure("lost", charged=None))
        elif not started_at and age_s > timeout_s:
            await self._fail(job, Failure("unreachable", charged=False))
        elif not started_at or job.is_asking_again:
            await self._engine.add(Task.SUBMIT, job.id, job.id)

    async def _separating(self, job: Job, age_s: float) -> None:
        limits = self._deadlines
        first_poll_s = limits.poll_after_s if limits.has_callbacks else limits.poll_interval_s
        is_over = age_s > limits.job_timeout_s
        is_due = age_s >= first_poll_s and self._clock() - job.polled_at >= limits.poll_interval_s
        # a job that runs out of time is asked for once more before it is given up
        if (is_due or is_over) and await self._polling.ask(job):
            return
        if is_over:
            await self._fail(job, Failure("timeout", charged=True))

    async def _look_for_late(self, job: Job) -> None:
        now = self._clock()
        age_s = now - job.moved_at
        if not job.is_out_of_time or age_s >= LATE_FOR_S:
            await self._store.ask_later(job.id, None)
            return
        await self._store.ask_later(job.id, now + max(self._deadlines.poll_interval_s, age_s * _LATE_EVERY))
        await self._polling.ask(job)

    async def _fail(self, job: Job, failure: Failure) -> None:
        if await self._store.fail(job.id, [job.state], failure):
            log.warning("job %s: failed with %s", job.id, failure.code)
            await self._job_message.show_current(job.id)
            await self._account_queue.next(job.account)

    async def _end(self, job: Job, age_s: float) -> None:
        if is_overtaken(job):
            await self._engine.add(Task.DELIVER, job.id, job.id)
            return
        try:
            await self._job_message.show(job)
        except StemdropError:
            raise
        except Exception as error:
            is_away = isinstance(error, TelegramError) and not isinstance(error, BadRequest)
            if isinstance(error, TelegramError) and is_gone(error):
                log.info("job %s: nobody is there to be shown how it ended: %s", job.id, error)
            elif age_s > (SHOW_AWAY_S if is_away else SHOW_FOR_S):
                log.warning("job %s: how it ended could not be shown: %s", job.id, error)
            else:
                raise
            await self._store.close(job.id)
