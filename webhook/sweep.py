"""Periodic, once over all workers: late jobs are polled, and whatever died in between is moved on.

Each state of a job that waits for somebody ends here when that somebody does not come.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from telegram.error import TelegramError

from stemdrop.engine import Engine, Task
from stemdrop.errors import BadContract, SeparationError, StemdropError
from stemdrop.jobs import FINAL, Failure, Job, JobState
from stemdrop.separation import SeparationClient
from stemdrop.status import StatusMessage
from stemdrop.store import JobStore, Receipt

log = logging.getLogger(__name__)

# An end that cannot be shown for this long never will be.
SHOW_FOR_S = 3600
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Deadlines:
    """When the sweep acts; all in seconds since the job's last move."""

    poll_after_s: float
    poll_interval_s: float
    job_timeout_s: float
    has_callbacks: bool


class Sweep:
    """One pass over all jobs that are not closed."""

    def __init__(
        self,
        store: JobStore,
        engine: Engine,
        separation: SeparationClient,
        status: StatusMessage,
        deadlines: Deadlines,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._engine = engine
        self._separation = separation
        self._status = status
        self._deadlines = deadlines
        self._clock = clock

    async def run(self) -> None:
        """Look after every job, a few at a time; trouble with one is logged and keeps none of the others."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def look_after(job: Job) -> None:
            async with slots:
                try:
                    await self._look_after(job)
                except (TelegramError, StemdropError) as error:
                    log.warning("job %s: %s: %s", job.id, type(error).__name__, error)
                except Exception as error:  # whatever is wrong with one job, the others are looked after
                    log.error("job %s: %s: %s", job.id, type(error).__name__, error)
                    log.debug("job %s", job.id, exc_info=True)

        async with asyncio.TaskGroup() as group:
            for job in await self._store.open_jobs():
                group.create_task(look_after(job))

    async def _look_after(self, job: Job) -> None:
        age_s = self._clock() - job.moved_at
        match job.state:
            case JobState.SUBMITTING:
                await self._submitting(job, age_s)
            case JobState.SEPARATING:
                await self._separating(job, age_s)
            case JobState.DELIVERING:
                await self._engine.add(Task.DELIVER, job.id, job.id)
            case _ if job.state in FINAL:
                await self._show_end(job, age_s)

    async def _submitting(self, job: Job, age_s: float) -> None:
        if not job.create_started_at:
            await self._engine.add(Task.SUBMIT, job.id, job.id)
        elif age_s > self._deadlines.job_timeout_s:
            await self._fail(job, Failure("lost", charged=None))

    async def _separating(self, job: Job, age_s: float) -> None:
        limits = self._deadlines
        first_poll_s = limits.poll_after_s if limits.has_callbacks else limits.poll_interval_s
        is_over = age_s > limits.job_timeout_s
        is_due = age_s >= first_poll_s and self._clock() - job.polled_at >= limits.poll_interval_s
        # a job that runs out of time is asked for once more before it is given up
        if (is_due or is_over) and await self._poll(job):
            return
        if is_over:
            await self._fail(job, Failure("timeout", charged=True))

    async def _poll(self, job: Job) -> bool:
        """Ask for the result; True when there is one."""
        await self._store.set(job.id, polled_at=self._clock())
        try:
            result = await self._separation.detail(job.task_id)
        except (SeparationError, BadContract) as error:
            log.warning("job %s: polling failed: %s", job.id, error)
            return False
        if result is None:
            return False
        receipt = await self._store.receive(job.id, job.chat_id, job.task_id, result)
        if receipt is Receipt.STORED:
            log.info("job %s: polled, code %d, %d stems", job.id, result.code, len(result.stems))
            await self._engine.add(Task.DELIVER, job.id, job.id)
        return True

    async def _fail(self, job: Job, failure: Failure) -> None:
        if await self._store.fail(job.id, [job.state], failure):
            log.warning("job %s: failed with %s", job.id, failure.code)
            await self._status.refresh(job.id)

    async def _show_end(self, job: Job, age_s: float) -> None:
        if age_s > SHOW_FOR_S:
            log.warning("job %s: how it ended could not be shown", job.id)
            await self._store.close(job.id)
        else:
            await self._status.show(job)
