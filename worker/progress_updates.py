"""The periodic task that updates the messages of open jobs: how far each is, and its place in the queue.

The task runs in one worker at a time. It does not wait for Telegram's limits, so that stems come first. The
end of a job is shown by the task that ends the job, or by recovery.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from telegram.error import BadRequest, NetworkError, TelegramError

from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.refusals import is_gone
from stemdrop.domain.jobs import ASK_AGAIN_AFTER_S, Job, JobState
from stemdrop.errors import TryLater
from stemdrop.log_context import job_context
from stemdrop.storage.chat_activity import ChatActivity
from stemdrop.storage.due_jobs import LONGEST_WAIT_S, DueJob, DueJobs
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.keys import PROGRESS_LIFETIME_S

log = logging.getLogger(__name__)

# A small part of what Telegram takes over all chats, about 30 messages a second.
MESSAGES_PER_RUN = 5
JOBS_PER_RUN = 100
NEXT_RUN_S = 5.0
# Practically not at all (0 would mean the default).
UPDATE_PATIENCE_S = 0.005
# A message that shows an outdated state must be corrected, even if that takes a while.
CORRECTION_PATIENCE_S = 60.0

FIRST_S, YOUNG_S, OLD_S = 15.0, 30.0, 60.0
YOUNG_UNTIL_S = 300.0

_UPDATED_STATES = frozenset({JobState.QUEUED, JobState.SUBMITTING, JobState.SEPARATING})


@dataclass
class _Run:
    written: int = 0
    is_telegram_away: bool = False
    chats: set[int] = field(default_factory=set)  # in which the run has tried to update a message
    waiting: Counter[int] = field(default_factory=Counter)  # chat → jobs that wait for other jobs of the chat


@dataclass
class ProgressUpdates:
    """Updates a few messages in each run, first those that were written the longest time ago."""

    store: JobStore
    due_jobs: DueJobs
    activity: ChatActivity
    job_message: JobMessage
    clock: Callable[[], float] = time.time

    async def run(self) -> None:
        """Update a few messages, at most one in each chat. Raises `StoreUnavailable`."""
        await self.due_jobs.add_missing()
        done = _Run()
        looks: list[tuple[DueJob, float]] = []
        try:
            for due in sorted(await self.due_jobs.find(JOBS_PER_RUN), key=_last_shown_at):
                if done.written == MESSAGES_PER_RUN or done.is_telegram_away:
                    break
                looks.append((due, self._not_after_offer(due.job, await self._look(due.job, done))))
        finally:
            await self.due_jobs.put_off(looks)

    async def _look(self, job: Job | None, done: _Run) -> float:
        """Update the job's message if it is time; returns when to look at the job again."""
        now = self.clock()
        if job is None or job.state not in _UPDATED_STATES:
            return now + LONGEST_WAIT_S
        is_offer_new = job.can_ask_again(now) and job.shown_at < _offered_at(job)
        if not is_offer_new and (due_at := _due_at(job)) > now:
            return due_at
        if await self.activity.receives_stems(job.chat_id):
            return now + FIRST_S
        is_group = job.chat_id < 0
        wait_s = await self.activity.progress_left_s(job.chat_id) if is_group else 0.0
        if wait_s or job.chat_id in done.chats:
            turn_s = PROGRESS_LIFETIME_S if is_group else NEXT_RUN_S
            turns = done.waiting[job.chat_id]
            done.waiting[job.chat_id] += 1
            return now + min((wait_s or turn_s) + turn_s * turns, LONGEST_WAIT_S)
        with job_context(job.id, job.task_id):
            return await self._update(job, done)

    def _not_after_offer(self, job: Job | None, at: float) -> float:
        """Return `at`, or the earlier time at which the user can be offered another create call."""
        is_offer_due = job and job.answer_lost_at and self.clock() < _offered_at(job)
        return min(at, _offered_at(job)) if job and is_offer_due else at

    async def _update(self, job: Job, done: _Run) -> float:
        try:
            if not await self._renew(job):
                return self.clock() + _interval_s(job)
            done.written += 1
        except TryLater as error:
            log.debug("job %s: its message waits: %s", job.id, error)
            done.chats.add(job.chat_id)
            return self.clock() + NEXT_RUN_S
        except TelegramError as error:
            done.is_telegram_away = isinstance(error, NetworkError) and not isinstance(error, BadRequest)
            level = logging.DEBUG if is_gone(error) else logging.WARNING
            if done.is_telegram_away:
                level = logging.INFO
            log.log(level, "job %s: its message could not be updated: %s", job.id, error)
            # only this chat may fail, so the next run begins with another one
            await self.store.set(job.id, shown_at=self.clock())
        done.chats.add(job.chat_id)
        if job.chat_id < 0:
            await self.activity.note_progress(job.chat_id)
        return _due_at(replace(job, shown_at=self.clock()))

    async def _renew(self, job: Job) -> bool:
        current = await self.store.get(job.id)
        if current is None or current.state is not job.state:
            return False  # the task that moved the job shows it
        if not await self.job_message.show_if_changed(current, UPDATE_PATIENCE_S):
            return False
        try:
            await self.job_message.show_newer_state(current, CORRECTION_PATIENCE_S)
        except (TelegramError, TryLater) as error:
            log.warning("job %s: its message may show an earlier state: %s", job.id, error)
            await self.store.reopen(job.id)
        return True


def _last_shown_at(due: DueJob) -> float:
    """Return when the job's message was last written: by an update, or by the task that moved the job."""
    return max(due.job.shown_at, due.job.moved_at) if due.job else 0.0


def _offered_at(job: Job) -> float:
    return job.create_started_at + ASK_AGAIN_AFTER_S


def _due_at(job: Job) -> float:
    return max(job.shown_at, job.moved_at) + _interval_s(job)


def _interval_s(job: Job) -> float:
    """Return the seconds between two updates, which are more for older jobs."""
    age_s = job.shown_at - (job.picked_at or job.moved_at)
    if job.shown_at < job.moved_at or age_s < FIRST_S:
        return FIRST_S
    return YOUNG_S if age_s < YOUNG_UNTIL_S else OLD_S
