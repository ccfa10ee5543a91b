"""`CallSender`: makes one create call at one provider, and records its outcome."""

import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

import httpx
from telegram.error import TelegramError

from stemdrop.chat.telegram_files import TelegramFiles
from stemdrop.domain.failures import CLOSED_CODES, PASSING_CODES, TOO_BUSY, more_helpful
from stemdrop.domain.jobs import Job, Mode
from stemdrop.domain.outcomes import Receipt, Run
from stemdrop.errors import (
    AnswerLost,
    BadContract,
    Refused,
    StoreUnavailable,
    TaskNotTold,
    TryLater,
    Unreachable,
)
from stemdrop.http.signed_links import SignedLinks
from stemdrop.log_context import bind_job
from stemdrop.provider.interface import Order, Provider
from stemdrop.provider.registry import Providers
from stemdrop.services.admin_alerts import AdminAlerts
from stemdrop.storage.abilities import Candidate
from stemdrop.storage.circuits import Circuits
from stemdrop.storage.connection import retry_until_stored
from stemdrop.storage.create_calls import CreateCall, CreateCalls
from stemdrop.storage.job_store import JobStore

log = logging.getLogger(__name__)

# Tags and a cover may take one part in so many of Telegram's limit for one file: 0.5 of 50 MB.
_PART_FOR_TAGS = 100
# A create call that can be repeated after a lost answer is sent in at most so many runs.
MAX_REPEATS = 8
_REPEAT_AFTER_S = 2.0


class Answered(Enum):
    """The outcome of a create call that was not refused."""

    STORED = auto()
    KNOWN = auto()  # the callback came before the answer, or the job has moved on
    LOST = auto()


@dataclass(kw_only=True)
class CallSender:
    """Makes the create calls of all jobs; one object serves a process.

    `links` is `None` without a public URL: sources are then uploaded and jobs polled. `max_bytes` is
    Telegram's limit for one file.
    """

    store: JobStore
    providers: Providers
    circuits: Circuits
    calls: CreateCalls
    files: TelegramFiles
    links: SignedLinks | None
    alerts: AdminAlerts
    max_bytes: int
    clock: Callable[[], float] = time.time

    async def prepare(self, job: Job, candidate: Candidate) -> CreateCall:
        """Return a call that can be stored and sent. Raises as `Provider.upload` and `TelegramFiles.find`."""
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

    async def repeatable(self, job: Job) -> CreateCall | None:
        """Return the job's last call if its provider takes a repeated call as the same order."""
        call = await self.calls.get(job.create_started_by)
        provider = self.providers.get(call.provider) if call else None
        if provider is None or not provider.capabilities.can_repeat:
            return None
        runs = await self.store.runs(job.id, Run.SUBMIT)
        return call if call and call.source and runs < MAX_REPEATS else None

    async def send(self, job: Job, call: CreateCall, run: int) -> Answered:
        """Make a call that is stored. Raises `Refused`, `Unreachable`, or `TryLater` to repeat the call."""
        try:
            task_id = await self._create(job, call)
        except (Unreachable, Refused) as error:
            await self._not_accepted(job, call, error)
            raise
        except (AnswerLost, BadContract) as error:
            await self.count_failure(call.provider, error)
            if self.providers[call.provider].capabilities.can_repeat:
                _repeat_later(job, run, error)
            log.warning("job %s: the answer to its create call is lost: %s", job.id, error)
            return Answered.LOST
        return await self._accepted(job, call, task_id)

    async def repeat(self, job: Job, call: CreateCall, run: int) -> Answered:
        """Repeat a call that may have been accepted. Raises `TryLater` to repeat it once more.

        A refusal says only that nothing was accepted this time: the first call may have used up the credits.
        """
        try:
            task_id = await self._create(job, call, is_repeated=True)
        except TaskNotTold as error:
            log.warning("job %s: the answer to its create call is lost: %s", job.id, error)
            return Answered.LOST
        except (Unreachable, Refused, AnswerLost, BadContract) as error:
            await self.count_failure(call.provider, error)
            _repeat_later(job, run, error)
            log.warning("job %s: the answer to its create call is lost: %s", job.id, error)
            return Answered.LOST
        return await self._accepted(job, call, task_id)

    async def _create(self, job: Job, call: CreateCall, *, is_repeated: bool = False) -> str:
        provider = self.providers[call.provider]
        callback_url = ""
        if self.links and provider.capabilities.has_callbacks:
            path = self.providers.path(call.provider)
            callback_url = self.links.callback_url(job.id, job.chat_id, path)
        order = Order(
            call_id=call.id,
            source=call.source,
            is_uploaded=call.is_uploaded,
            mode=Mode(call.mode),
            instrument=call.instrument,
            callback_url=callback_url,
            file_format=job.file_format,
            max_file_bytes=self.max_bytes - self.max_bytes // _PART_FOR_TAGS,
            is_repeated=is_repeated,
        )
        return self.providers.qualified(call.provider, await provider.create(order))

    async def _accepted(self, job: Job, call: CreateCall, task_id: str) -> Answered:
        bind_job(job.id, task_id)
        log.info(
            "job %s: accepted by %s as task %s, for %d credits", job.id, call.provider, task_id, call.price
        )
        # the task is paid for: its id must survive a short failure of Redis
        receipt = await retry_until_stored(
            lambda: self.store.accept(job.id, task_id, call.id),
            f"job {job.id}: task {task_id} is not stored yet",
        )
        with suppress(StoreUnavailable):
            await self.circuits.succeeded(call.provider)
        if receipt is Receipt.FOREIGN:
            log.error("job %s: its callback and the create answer name different tasks", job.id)
        return Answered.STORED if receipt is Receipt.STORED else Answered.KNOWN

    async def _not_accepted(self, job: Job, call: CreateCall, error: Unreachable | Refused) -> None:
        code = str(error.code) if isinstance(error, Refused) else "unreachable"
        told, avoid = more_helpful(job.refusal, code), "" if code in PASSING_CODES else call.provider
        # a refusal that is not stored would be taken for a lost answer
        await retry_until_stored(
            lambda: self.store.not_accepted(job, call.id, code=code, avoid=avoid, told=told),
            f"job {job.id}: the refusal of its call is not stored yet",
        )
        await self.count_failure(call.provider, error)

    async def count_failure(self, provider: str, error: Exception) -> None:
        """Count a failure for the provider's circuit; the refusal of a song is no failure."""
        code = error.code if isinstance(error, Refused) else TOO_BUSY
        if code not in (*CLOSED_CODES, TOO_BUSY):
            return
        with suppress(StoreUnavailable):
            if code in CLOSED_CODES:
                await self.alerts.failed(str(code), provider)
            if open_s := await self.circuits.failed(provider, str(error), at_once=code in CLOSED_CODES):
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
        except TelegramError as error:  # Telegram may answer again when the provider fetches the source
            log.warning(
                "job %s: Telegram could not say whether it still has the song: %s",
                job.id,
                type(error).__name__,
            )


def _repeat_later(job: Job, run: int, error: Exception) -> None:
    if run < MAX_REPEATS:
        why = f"job {job.id}: its create call is repeated: {error}"
        raise TryLater(_REPEAT_AFTER_S * run, why) from error
