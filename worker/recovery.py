"""The periodic task that moves on stuck jobs, whose process has died or whose answer is late.

The task runs in one worker at a time.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from telegram.error import BadRequest, TelegramError

from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.refusals import Refusal, classify, is_gone
from stemdrop.domain.jobs import FINAL, Failure, Job, JobState, is_overtaken
from stemdrop.errors import StemdropError
from stemdrop.log_context import bind_job
from stemdrop.services.account_queue import AccountQueue
from stemdrop.services.result_polling import ResultPolling
from stemdrop.storage.due_jobs import CLOCK_SKEW_S, LONGEST_WAIT_S, DueJobs
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.remixes import Remixes
from stemdrop.tasks.engine import Engine, Task
from stemdrop.tasks.tracebacks import EXPECTED, Tracebacks

log = logging.getLogger(__name__)

# Recovery tries to show the end of a job for this long: while Telegram refuses the message, and while
# Telegram is away or the chat takes no messages for now.
SHOW_FOR_S = 3600
SHOW_AWAY_S = 24 * 3600
# A job that ran out of time is polled for so much longer, ever less often, because its result is paid for.
LATE_FOR_S = 24 * 3600
LATE_AT_ONCE = 100
_LATE_EVERY = 0.1  # the pause between two such polls, as a share of the time since the job failed
# The answer to the create call of a job that was deleted during that call comes within this time.
ANSWER_OF_DELETED_S = 120.0
# So long after its order, the task of a remix that has not ended is added again, in case it was lost.
REMIX_AGAIN_S = 60.0
AT_ONCE = 8
# The pause between two polls of a job whose provider reports many jobs in one request: a little less than
# the pause between two runs, so that each run polls the job.
BATCH_POLL_EVERY_S = 8.0
# So many jobs are read in one step, which blocks the process for about 10 ms.
BATCH = 50
# A job that waits for another task is looked at again after half of its time in the state, but not sooner and
# not later than this.
LOOK_AGAIN_S = (10.0, 60.0)
_TIMES = ("moved_at", "create_started_at", "polled_at", "shown_at")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """When recovery acts: seconds since the job's last move; `poll_interval_s` is between two polls."""

    poll_after_s: float
    poll_interval_s: float
    job_timeout_s: float
    has_callbacks: bool


@dataclass(kw_only=True)
class Recovery:
    """Looks at every job that is due, in each run."""

    store: JobStore
    due_jobs: DueJobs
    engine: Engine
    polling: ResultPolling
    job_message: JobMessage
    account_queue: AccountQueue
    deadlines: Deadlines
    remixes: Remixes
    clock: Callable[[], float] = time.time
    _tracebacks: Tracebacks = field(init=False, default_factory=Tracebacks)
    _slots: asyncio.Semaphore = field(init=False, default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def run(self) -> None:
        """Move on the jobs that are due, a few at a time; an error with one is logged and stops no other."""
        began_at = self.clock()
        await self._restart_remixes(began_at - REMIX_AGAIN_S)
        late = await self.store.late_jobs(LATE_AT_ONCE)
        await asyncio.gather(*(self._try(job, self._poll_late) for job in late))
        await self.due_jobs.add_missing()
        # a clock that is set back meanwhile must not make the jobs that were put off due again
        while due := await self.due_jobs.find(BATCH, before=min(began_at, self.clock())):
            await asyncio.gather(*(self._try(it.job, self._recover) for it in due if it.job))
            await self.due_jobs.put_off([(it, self._next_look_at(it.job)) for it in due])

    async def _restart_remixes(self, before: float) -> None:
        """Add the tasks of open remixes, in case they were lost; a task that exists stays as it is."""
        for remix_id in await self.remixes.open_ids(before):
            if await self.remixes.exists(remix_id):
                await self.engine.add(Task.RENDER, remix_id, remix_id)
            else:  # the remix has expired
                await self.remixes.drop(remix_id)

    async def _try(self, job: Job, step: Callable[[Job], Awaitable[None]]) -> None:
        bind_job(job.id, job.task_id)
        async with self._slots:
            try:
                await step(job)
                self._tracebacks.forget(job.id)
            except Exception as error:
                log.log(
                    logging.WARNING if isinstance(error, EXPECTED) else logging.ERROR,
                    *("job %s: %s: %s", job.id, type(error).__name__, error),
                    exc_info=self._tracebacks.select(job.id, error),
                )

    async def _recover(self, job: Job) -> None:
        job = await self._correct_times(job)
        age_s = self.clock() - job.moved_at
        match job.state:
            case JobState.SUBMITTING:
                await self._recover_submission(job, age_s)
            case JobState.SEPARATING:
                await self._poll(job, age_s)
            case JobState.DELIVERING:
                await self.engine.add(Task.DELIVER, job.id, job.id)
            case JobState.QUEUED:
                if job.waits_for:
                    await self._follow(job)
                await self.account_queue.next(job.account)
            case _ if job.state in FINAL:
                try:
                    await self._show_end(job, age_s)
                finally:
                    await self.account_queue.next(job.account)

    def _next_look_at(self, job: Job | None) -> float:
        """Return when to look again (Unix seconds) at a job that does not move before."""
        now, limits = self.clock(), self.deadlines
        times = [now + LONGEST_WAIT_S]
        if job:
            moved_at = min(job.moved_at, now)
            times.append(moved_at + limits.job_timeout_s)
            if job.state is JobState.SEPARATING:
                first_at, interval_s = moved_at + self._first_poll_s(job), self._poll_interval_s(job)
                poll_at = max(first_at, min(job.polled_at, now) + interval_s)
                times.append(poll_at if poll_at > now else now + interval_s)
            elif job.state is JobState.SUBMITTING and job.create_started_at and not job.is_asking_again:
                times.append(job.create_started_at + limits.job_timeout_s)
            else:
                shortest_s, longest_s = LOOK_AGAIN_S
                times.append(now + min(max((now - moved_at) / 2, shortest_s), longest_s))
        return min(at for at in times if at > now)

    def _first_poll_s(self, job: Job) -> float:
        limits = self.deadlines
        has_callbacks = limits.has_callbacks and self.polling.providers.calls_back(job.task_id)
        return limits.poll_after_s if has_callbacks else self._poll_interval_s(job)

    def _poll_interval_s(self, job: Job) -> float:
        """Return the seconds between two polls of a job: fewer where one request reports many jobs."""
        limit_s, works = self.deadlines.poll_interval_s, self.polling.providers.capabilities(job.task_id)
        is_often = works is not None and works.polls_many
        return min(BATCH_POLL_EVERY_S, limit_s) if is_often else limit_s

    async def _correct_times(self, job: Job) -> Job:
        """Replace times in the future, left by a clock that was set back: the job would wait for them."""
        now = self.clock()
        ahead = {name: now for name in _TIMES if getattr(job, name) > now + CLOCK_SKEW_S}
        if not ahead:
            return job
        log.warning("job %s: a clock was set back, so its times were in the future and are set anew", job.id)
        await self.store.set(job.id, **ahead)
        return await self.store.get(job.id) or job

    async def _recover_submission(self, job: Job, age_s: float) -> None:
        timeout_s = self.deadlines.job_timeout_s
        started_at = job.create_started_at
        if started_at and self.clock() - started_at > timeout_s:
            await self._fail(job, Failure("lost", charged=None))
        elif not started_at and age_s > timeout_s:
            await self._fail(job, Failure("unreachable", charged=False))
        elif not started_at or job.is_asking_again:
            await self.engine.add(Task.SUBMIT, job.id, job.id)

    async def _poll(self, job: Job, age_s: float) -> None:
        limits = self.deadlines
        is_over = age_s > limits.job_timeout_s
        polled_s = self.clock() - job.polled_at
        is_due = age_s >= self._first_poll_s(job) and polled_s >= self._poll_interval_s(job)
        # a job that runs out of time is polled once more before it fails
        if (is_due or is_over) and await self.polling.ask(job):
            return
        if is_over:
            await self._fail(job, Failure("timeout", charged=not job.paid_by))

    async def _follow(self, job: Job) -> None:
        """Let a job that waits for another job's result go on by itself once that result cannot come.

        A payer in progress ends by its own deadlines; a cancelled payer is polled for the jobs that wait.
        """
        payer, now, limits = await self.store.get(job.waits_for), self.clock(), self.deadlines
        if payer and payer.state in (JobState.SUBMITTING, JobState.SEPARATING, JobState.DELIVERING):
            return
        # a provider that has fetched the song of a deleted job has accepted it
        answer_s = limits.job_timeout_s if job.source_fetched_at else ANSWER_OF_DELETED_S
        if payer is None and now - job.moved_at < answer_s:
            return
        if payer and payer.state is JobState.CANCELLED and payer.create_started_at:
            is_due = now - max(payer.moved_at, payer.polled_at) >= limits.poll_interval_s
            waited_since = payer.create_started_at
            if payer.task_id:
                if now - waited_since < LATE_FOR_S:  # its result may have come long ago, and a poll may fail
                    waited_since = max(waited_since, job.moved_at)
                if is_due:
                    await self.polling.ask(payer)
            if now - waited_since <= limits.job_timeout_s:
                return
        if await self.store.leave(job):
            log.info("job %s: goes on by itself, job %s brings no stems", job.id, job.waits_for)

    async def _poll_late(self, job: Job) -> None:
        now = self.clock()
        age_s = now - job.moved_at
        if not job.is_out_of_time or age_s >= LATE_FOR_S:
            await self.store.ask_later(job.id, None)
            return
        await self.store.ask_later(job.id, now + max(self.deadlines.poll_interval_s, age_s * _LATE_EVERY))
        await self.polling.ask(job)

    async def _fail(self, job: Job, failure: Failure) -> None:
        if await self.store.fail(job.id, [job.state], failure):
            log.warning("job %s: failed with %s", job.id, failure.code)
            await self.job_message.show_current(job.id)
            await self.account_queue.next(job.account)

    async def _show_end(self, job: Job, age_s: float) -> None:
        if is_overtaken(job):
            await self.engine.add(Task.DELIVER, job.id, job.id)
            return
        try:
            await self.job_message.show(job)
        except StemdropError:
            raise
        except Exception as error:
            is_away = isinstance(error, TelegramError) and not (
                isinstance(error, BadRequest) and classify(error) is not Refusal.NOT_HERE
            )
            if isinstance(error, TelegramError) and is_gone(error):
                log.info("job %s: its end cannot be shown, the chat is gone: %s", job.id, error)
            elif age_s > (SHOW_AWAY_S if is_away else SHOW_FOR_S):
                log.warning("job %s: its end could not be shown: %s", job.id, error)
            else:
                raise
            await self.store.close(job.id)
