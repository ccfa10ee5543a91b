"""`Submission`: the task that makes a job's create call, at most once, even if its process is killed.

The task engine gives a killed process's submissions to another one.
"""

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import httpx
from telegram.error import TelegramError

from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.telegram_files import TelegramFiles
from stemdrop.domain.failures import CLOSED_CODES, SONG_CODES, TOO_BUSY
from stemdrop.domain.jobs import Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Credits, Receipt, Run
from stemdrop.errors import (
    AnswerLost,
    BadContract,
    Refused,
    SeparationError,
    SourceGone,
    SourceUnavailable,
    StoreUnavailable,
    TryLater,
    Unreachable,
)
from stemdrop.http.signed_links import SignedLinks
from stemdrop.log_context import bind_job
from stemdrop.provider.interface import Order, Provider
from stemdrop.provider.registry import Providers
from stemdrop.services.account_queue import AccountQueue
from stemdrop.services.admin_alerts import AdminAlerts
from stemdrop.storage.abilities import AbilitiesCache, Candidate
from stemdrop.storage.circuits import Circuits
from stemdrop.storage.connection import retry_until_stored
from stemdrop.storage.create_calls import CreateCall, CreateCalls
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
# A provider that is overloaded for longer leaves the job to the next one.
LONGEST_BUSY_S = 60.0
# A create call with an idempotency key is sent again so often after a lost answer.
MAX_REPEATS = 8


@dataclass(kw_only=True)
class Submission:
    """The task `SUBMIT`. `links` is `None` without a public URL: sources are uploaded, jobs polled.

    `max_bytes` is Telegram's limit for one file.
    """

    store: JobStore
    providers: Providers
    abilities: AbilitiesCache
    circuits: Circuits
    calls: CreateCalls
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
        is_begun = bool(job.create_started_at) and not job.is_asking_again
        repeated = await self._repeatable(job) if is_begun else None
        if is_begun and not repeated:
            await self._wait_for_answer(job)
            return
        run = await self.store.count_run(job_id, Run.SUBMIT)
        if run > MAX_BEGUN and not repeated:
            await self._fail(job, Failure("internal", charged=False), f"{MAX_BEGUN} runs never ended")
            return
        try:
            if repeated:
                await self._send(job, repeated, run)
            else:
                await self._submit(job, run)
        except Unreachable as error:
            await self._again_or_fail(job, run, "unreachable", error)
        except Refused as error:
            if error.code == TOO_BUSY:
                await self._again_or_fail(job, run, str(error.code), error)
            else:
                await self._fail(job, Failure(_code(job, error), charged=False), error)
        except SourceUnavailable as error:
            await self._again_or_fail(job, run, "source_gone", error)
        except SourceGone as error:
            await self._fail(job, Failure("source_gone", charged=False), error)

    async def _wait_for_answer(self, job: Job) -> None:
        """Raise `TryLater` while the create call of another run may be answered; its answer is lost then."""
        open_s = job.create_started_at + LOST_AFTER_S - self.clock()
        if open_s > 0 and not job.answer_lost_at:
            raise TryLater(open_s, f"job {job.id}: its create call may still be answered")
        # A process was killed, or lost Redis, during the call, which may have been accepted.
        await self._answer_lost(job, job.create_started_by, "its process was killed during the call")

    async def _submit(self, job: Job, run: int) -> None:
        """Ask the providers in turn until one accepts; those before it have charged nothing."""
        if job.mode is None:
            raise ValueError(f"job {job.id} is being submitted without a mode")
        found: list[Candidate] = []
        # where an answer was lost, another provider comes first, and that one again if there is no other
        for avoid in (job.asked_before, job.tried_providers):
            found = found or await self.abilities.candidates(
                job.mode, job.instrument, job.source.duration_s, avoid
            )
        candidates = [it for it in found if job.may_cost(it.price)]
        if not candidates:
            failure = Failure("dearer" if found else "unreachable", charged=False)
            failure = replace(failure, code=job.refusal) if job.refusal else failure
            await self._fail(job, failure, "no other provider takes it at this price")
            return
        await self._ask_in_turn(job, candidates, run)

    async def _ask_in_turn(self, job: Job, candidates: Sequence[Candidate], run: int) -> None:
        for number, candidate in enumerate(candidates, 1):
            try:
                call = await self._call(job, candidate)
                if await self.store.begin_create(job.id, call):
                    await self._send(job, call, run, is_last=number == len(candidates))
                return
            except (Unreachable, Refused) as error:
                if number == len(candidates) or _is_soon_over(error):
                    raise
                log.warning("job %s: %s is asked next: %s", job.id, candidates[number].provider, error)
                job = await self.store.get(job.id) or job

    async def _call(self, job: Job, candidate: Candidate) -> CreateCall:
        provider = self.providers[candidate.provider]
        is_uploaded = not (self.links and provider.capabilities.takes_url)
        return CreateCall(
            id=secrets.token_hex(8),
            job_id=job.id,
            provider=provider.name,
            mode=job.mode or "",
            instrument=job.instrument,
            duration_s=job.source.duration_s,
            price=candidate.price,
            source=await self._source(job, provider, is_uploaded=is_uploaded),
            is_uploaded=is_uploaded,
            asked_at=self.clock(),
        )

    async def _repeatable(self, job: Job) -> CreateCall | None:
        """Return the job's last call if it may be sent again: its idempotency key orders once."""
        call = await self.calls.get(job.create_started_by)
        provider = self.providers.get(call.provider) if call else None
        if provider is None or not provider.capabilities.has_idempotency_key:
            return None
        runs = await self.store.runs(job.id, Run.SUBMIT)
        return call if call and call.source and runs < MAX_REPEATS else None

    async def _send(self, job: Job, call: CreateCall, run: int, *, is_last: bool = True) -> None:
        """Make a create call that was noted. Raises `Refused`, `Unreachable`, or `TryLater` to repeat it."""
        provider = self.providers[call.provider]
        has_key = provider.capabilities.has_idempotency_key
        order = self._order(job, call, provider)
        try:
            task_id = self.providers.qualified(call.provider, await provider.create(order))
        except (Unreachable, Refused) as error:
            await self._not_accepted(job, call, error, is_last=is_last)
            raise
        except (AnswerLost, BadContract) as error:
            await self._count_failure(call.provider, error)
            if has_key and run < MAX_REPEATS:
                raise TryLater(
                    _SOON_S * run, f"job {job.id}: its create call is repeated: {error}"
                ) from error
            await self._answer_lost(job, call.id, str(error))
            return
        bind_job(job.id, task_id)
        log.info("job %s: accepted by %s as task %s", job.id, call.provider, task_id)
        # the task is paid for: its id must survive a short failure of Redis
        receipt = await retry_until_stored(
            lambda: self.store.accept(job.id, task_id, call.id),
            f"job {job.id}: task {task_id} is not stored yet",
        )
        with suppress(StoreUnavailable):
            await self.circuits.succeeded(call.provider)
        if receipt is Receipt.FOREIGN:
            log.error("job %s: its callback and the create answer name different tasks", job.id)
        elif receipt is Receipt.STORED:
            await self._show(job)

    def _order(self, job: Job, call: CreateCall, provider: Provider) -> Order:
        callback_url = ""
        if self.links and provider.capabilities.has_callbacks:
            path = self.providers.path(call.provider)
            callback_url = self.links.callback_url(job.id, job.chat_id, path)
        return Order(
            call_id=call.id,
            source=call.source,
            is_uploaded=call.is_uploaded,
            mode=Mode(call.mode),
            instrument=call.instrument,
            callback_url=callback_url,
            file_format=job.file_format,
            max_file_bytes=self.max_bytes - self.max_bytes // _PART_FOR_TAGS,
        )

    async def _not_accepted(
        self, job: Job, call: CreateCall, error: Unreachable | Refused, *, is_last: bool
    ) -> None:
        code = str(error.code) if isinstance(error, Refused) else "unreachable"
        is_final = isinstance(error, Refused) and not (is_last and error.code == TOO_BUSY)
        avoid = call.provider if is_final and not _is_soon_over(error) else ""
        # otherwise the refusal would be taken for a lost answer
        await retry_until_stored(
            lambda: self.store.not_accepted(job, call.id, code=code, avoid=avoid),
            f"job {job.id}: the refusal of its call is not stored yet",
        )
        await self._count_failure(call.provider, error)

    async def _count_failure(self, provider: str, error: SeparationError | BadContract) -> None:
        if isinstance(error, Refused) and error.code not in CLOSED_CODES:
            if error.code != TOO_BUSY:
                return  # it has answered, and refuses this song
        elif isinstance(error, Refused):
            await self.alerts.failed(str(error.code), provider)
        at_once = isinstance(error, Refused) and error.code in CLOSED_CODES
        with suppress(StoreUnavailable):
            if open_s := await self.circuits.failed(provider, str(error), at_once=at_once):
                log.warning("%s is not asked for %d s: %s", provider, open_s, error)

    async def _source(self, job: Job, provider: Provider, *, is_uploaded: bool) -> str:
        if self.links and not is_uploaded:
            await self._check_source(job)
            return self.links.source_url(job.id, job.source.extension)
        try:
            file = await self.files.find(job.source.file_id)
            size = file.size_bytes or job.source.size_bytes
            async with self.files.open(file) as content:
                return await provider.upload(f"{job.id}{job.source.extension}", content, size)
        except (AnswerLost, BadContract, TelegramError, httpx.HTTPError) as error:
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
        provider = self.providers.get(job.provider)
        has_callbacks = provider is None or provider.capabilities.has_callbacks
        if self.links is None or not has_callbacks:  # no result can come: polling needs the task id
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


def _is_soon_over(error: Unreachable | Refused) -> bool:
    """Whether the provider says that it is overloaded, for a short time only."""
    if not isinstance(error, Refused) or error.code != TOO_BUSY or error.retry_after_s is None:
        return False
    return error.retry_after_s <= LONGEST_BUSY_S


def _code(job: Job, error: Refused) -> str:
    """Return the code to show: what a provider has said of the song, rather than of itself."""
    return job.refusal if job.refusal in SONG_CODES else str(error.code)
