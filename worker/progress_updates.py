"""Periodic, once over all workers: the one message of each job goes on telling how it stands.

A courtesy: it never waits for Telegram's limits and leaves them to stems. Ends are not shown here: whoever
ends a job does, or the sweep.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from telegram.error import BadRequest, NetworkError, TelegramError

from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.telegram_bot import is_gone
from stemdrop.domain.jobs import Job, JobState
from stemdrop.errors import TryLater
from stemdrop.log_context import job_context
from stemdrop.storage.job_store import JobStore

log = logging.getLogger(__name__)

# Over all chats Telegram takes about 30 messages a second: this is the smallest part of it.
MESSAGES_PER_PASS = 5
# So much as not to wait at all (0 would mean the default).
PATIENCE_S = 0.005
# What a message says wrongly must be put right: then there is time.
CORRECTION_PATIENCE_S = 60.0
# Stems that are on their way for longer than this are in trouble, and the chat is not kept free for them.
STEMS_S = 300.0

FIRST_S, YOUNG_S, OLD_S = 15.0, 30.0, 60.0
YOUNG_UNTIL_S = 300.0
# Of the 20 messages a minute that a group takes, over all of its jobs.
GROUP_S = 60.0

_ALIVE = frozenset({JobState.QUEUED, JobState.SUBMITTING, JobState.SEPARATING})


class ProgressUpdates:
    """One pass over the messages that have not been written for longest."""

    def __init__(
        self, store: JobStore, job_message: JobMessage, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._job_message = job_message
        self._clock = clock

    async def run(self) -> None:
        """Write a few messages again, at most one in each chat. Raises `StoreUnavailable`."""
        jobs = await self._store.open_jobs()
        taken = set(_left_alone(jobs, self._clock()))
        written = 0
        for job in sorted(jobs, key=_since):
            if written == MESSAGES_PER_PASS:
                return
            if job.chat_id in taken or not _is_due(job, self._clock()):
                continue
            try:
                with job_context(job.id, job.task_id):
                    if not await self._renew(job):
                        continue
                written += 1
            except TryLater as error:
                log.debug("job %s: its message waits: %s", job.id, error)
            except NetworkError as error:
                if not isinstance(error, BadRequest):
                    log.info("job %s: its message waits: %s", job.id, error)
                    return  # Telegram is away: the others would find the same
                await self._pass_over(job, error)
            except TelegramError as error:
                await self._pass_over(job, error)
            taken.add(job.chat_id)

    async def _renew(self, job: Job) -> bool:
        current = await self._store.get(job.id)
        if current is None or current.state is not job.state:
            return False  # whoever moved it shows it
        if not await self._job_message.show_if_changed(current, PATIENCE_S):
            return False
        try:
            await self._job_message.show_newer_state(current, CORRECTION_PATIENCE_S)
        except (TelegramError, TryLater) as error:
            log.warning("job %s: its message is behind: %s", job.id, error)
            await self._store.reopen(job.id)
        return True

    async def _pass_over(self, job: Job, error: TelegramError) -> None:
        """Such a message is tried again at its pace, not at every pass."""
        level = logging.DEBUG if is_gone(error) else logging.WARNING
        log.log(level, "job %s: its message could not be renewed: %s", job.id, error)
        await self._store.set(job.id, shown_at=self._clock())


def _left_alone(jobs: Sequence[Job], now: float) -> Iterator[int]:
    """Chats that are being sent stems, and groups that have heard enough."""
    for job in jobs:
        is_sent_stems = job.state is JobState.DELIVERING and now - job.moved_at < STEMS_S
        if is_sent_stems or (job.chat_id < 0 and now - job.shown_at < GROUP_S):
            yield job.chat_id


def _since(job: Job) -> float:
    """When it last had its say: whoever moves a job shows it."""
    return max(job.shown_at, job.moved_at)


def _is_due(job: Job, now: float) -> bool:
    return job.state in _ALIVE and now - _since(job) >= _pace_s(job)


def _pace_s(job: Job) -> float:
    """The longer it takes, the less a few seconds matter."""
    age_s = job.shown_at - (job.picked_at or job.moved_at)
    if job.shown_at < job.moved_at or age_s < FIRST_S:
        return FIRST_S
    return YOUNG_S if age_s < YOUNG_UNTIL_S else OLD_S
