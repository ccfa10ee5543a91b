"""`Submission`: the task that makes a job's create call, at most once, even if its process is killed.

The task engine gives a killed process's submissions to another one.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import httpx
from telegram.error import TelegramError

from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.telegram_files import TelegramFiles
from stemdrop.domain.failures import TOO_BUSY
from stemdrop.domain.jobs import Failure, Job, JobState
from stemdrop.domain.outcomes import Credits, Receipt, Run
from stemdrop.errors import AnswerLost, Refused, SourceGone, SourceUnavailable, TryLater, Unreachable
from stemdrop.http.signed_links import SignedLinks
from stemdrop.log_context import bind_job
from stemdrop.provider.client import SeparationClient
from stemdrop.services.account_queue import AccountQueue
from stemdrop.services.admin_alerts import AdminAlerts
from stemdrop.storage.connection import retry_until_stored
from stemdrop.storage.job_store import JobStore

log = logging.getLogger(__name__)

# A failure that may pass within seconds is retried so often before the user is told; it costs nothing.
MAX_SUBMISSION_RUNS = 3
# A job fails after so many begun runs. Only runs that break off come to that many.
MAX_BEGUN = 12
_SOON_S = 2.0
# The create call of another run counts as lost so long after it began: its timeout (60 s) and a margin.
LOST_AFTER_S = 75.0
# The part of Telegram's limit for one file that tags and a cover may take (0.5 of 50 MB).
_PART_FOR_TAGS = 100
# The API requires a callback URL. Without a public URL it gets a name that never resolves (RFC 2606), so that
# the result is sent to no other host; the job is polled.
NO_CALLBACK_URL = "https://callback.invalid/none"


@dataclass(kw_only=True)
class Submission:
    """The task `SUBMIT`. `links` is `None` without a public URL: sources are uploaded, jobs polled.

    `max_bytes` is Telegram's limit for one file.
    """

    store: JobStore
    separation: SeparationClient
    files: TelegramFiles
    links: SignedLinks | None
    job_message: JobMessage
    account_queue: AccountQueue
    alerts: AdminAlerts
    max_bytes: int
    clock: Callable[[], float] = time.time

    async def run(self, job_id: str) -> None:
        """Submit the job if it waits for that. Idempotent. Raises `TryLater`."""
        job = await self.store.get(job_id)
        if job is None or job.state is not JobState.SUBMITTING:
            return
        if job.create_started_at and not job.is_asking_again:
            open_s = job.create_started_at + LOST_AFTER_S - self.clock()
            if open_s > 0 and not job.answer_lost_at:
                raise TryLater(open_s, f"job {job_id}: its create call may still be answered")
            # A process was killed, or lost Redis, during the call, which may have been accepted.
            await self._answer_lost(job, job.create_started_by, "its process was killed during the call")
            return
        run = await self.store.count_run(job_id, Run.SUBMIT)
        if run > MAX_BEGUN:
            await self._fail(job, Failure("internal", charged=False), f"{MAX_BEGUN} runs never ended")
            return
        try:
            await self._submit(job)
        except Unreachable as error:
            await self._again_or_fail(job, run, "unreachable", error)
        except Refused as error:
            if error.code == TOO_BUSY:
                await self._again_or_fail(job, run, str(error.code), error)
            else:
                await self._fail(job, Failure(str(error.code), charged=False), error)
                await self.alerts.failed(str(error.code))
        except SourceUnavailable as error:
            await self._again_or_fail(job, run, "source_gone", error)
        except SourceGone as error:
            await self._fail(job, Failure("source_gone", charged=False), error)

    async def _submit(self, job: Job) -> None:
        if job.mode is None:
            raise ValueError(f"job {job.id} is being submitted without a mode")
        source_url = await self._source_url(job)
        callback_url = self.links.callback_url(job.id, job.chat_id) if self.links else NO_CALLBACK_URL
        call = await self.store.begin_create(job.id)
        if not call:
            return
        try:
            task_id = await self.separation.create(
                source_url,
                job.mode,
                job.instrument,
                callback_url,
                job.file_format,
                self.max_bytes - self.max_bytes // _PART_FOR_TAGS,
            )
        except (Unreachable, Refused):
            # otherwise the refusal would be taken for a lost answer
            await retry_until_stored(
                lambda: self.store.not_accepted(job, call),
                f"job {job.id}: the refusal of its call is not stored yet",
            )
            raise
        except AnswerLost as error:
            await self._answer_lost(job, call, str(error))
            return
        bind_job(job.id, task_id)
        log.info("job %s: accepted as task %s", job.id, task_id)
        # the task is paid for: its id must survive a short failure of Redis
        receipt = await retry_until_stored(
            lambda: self.store.accept(job.id, task_id), f"job {job.id}: task {task_id} is not stored yet"
        )
        if receipt is Receipt.FOREIGN:
            log.error("job %s: its callback and the create answer name different tasks", job.id)
        elif receipt is Receipt.STORED:
            await self._show(job)

    async def _source_url(self, job: Job) -> str:
        if self.links:
            await self._check_source(job)
            return self.links.source_url(job.id, job.source.extension)
        try:
            file = await self.files.find(job.source.file_id)
            size = file.size_bytes or job.source.size_bytes
            async with self.files.open(file) as content:
                return await self.separation.upload(f"{job.id}{job.source.extension}", content, size)
        except (AnswerLost, TelegramError, httpx.HTTPError) as error:
            # uploads are free: a lost answer means only that the upload is repeated
            raise Unreachable(f"the upload failed ({type(error).__name__})") from error

    async def _check_source(self, job: Job) -> None:
        """Ask Telegram for the source before the order is paid for. Raises as `TelegramFiles.find`."""
        try:
            await self.files.ask(job.source.file_id)
        except TelegramError as error:  # it may be back when the provider fetches the source
            log.warning(
                "job %s: Telegram could not say whether it still has the song: %s",
                job.id,
                type(error).__name__,
            )

    async def _again_or_fail(self, job: Job, run: int, code: str, error: Exception) -> None:
        if run < MAX_SUBMISSION_RUNS:
            raise TryLater(_SOON_S * run, str(error)) from error
        await self._fail(job, Failure(code, charged=False), error)

    async def _answer_lost(self, job: Job, call: str, why: str) -> None:
        log.warning("job %s: the answer to its create call is lost: %s", job.id, why)
        if self.links is None:  # no result can come: polling needs the task id
            await self._fail(job, Failure("lost", charged=None), why)
            return
        lost = await retry_until_stored(
            lambda: self.store.lose_answer(job.id, call), f"job {job.id}: the lost answer is not stored yet"
        )
        if lost:
            await self._show(job)

    async def _fail(self, job: Job, failure: Failure, why: object) -> None:
        current, credits = await self.store.get(job.id), None
        if current and current.asked_again_by and current.create_started_at:
            # another call may have been charged; if all have failed, the store returns the price of this one
            have_failed = (await self.store.history(job.id)).have_calls_failed
            failure = replace(failure, charged=current.is_other_charged if have_failed else None)
            credits = Credits.SETTLE
        if await self.store.fail(job.id, [JobState.SUBMITTING], failure, credits):
            log.warning("job %s: failed with %s: %s", job.id, failure.code, why)
            await self._show(job)
            await self.account_queue.next(job.account)

    async def _show(self, job: Job) -> None:
        """Show the job if Telegram allows it now; recovery shows an end that was not shown."""
        try:
            await self.job_message.show_current(job.id)
        except (TelegramError, TryLater) as error:
            log.warning("job %s: its message could not be updated: %s", job.id, error)
