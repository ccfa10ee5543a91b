"""`Submission`: the task that makes a job's create call, at most once, even if its process is killed.

The task engine hands the submissions of a killed process to another one.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from telegram.error import TelegramError

from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.rendering import WORTH_TELLING_S
from stemdrop.chat.telegram_bot import TELEGRAM_PATIENCE_S
from stemdrop.domain.failures import (
    DEARER,
    OVER_LIMIT,
    PASSING_CODES,
    TOO_BUSY,
    more_helpful,
)
from stemdrop.domain.jobs import Failure, Job, JobState
from stemdrop.domain.outcomes import Credits, Run
from stemdrop.errors import (
    LONGEST_BUSY_S,
    OverLimit,
    Refused,
    SourceGone,
    SourceUnavailable,
    TryLater,
    Unreachable,
)
from stemdrop.services.account_queue import AccountQueue
from stemdrop.storage.abilities import AbilitiesCache, Candidate
from stemdrop.storage.connection import retry_until_stored
from stemdrop.storage.create_calls import CallOutcome, CreateCall
from stemdrop.storage.job_store import JobStore
from worker.call_sender import Answered, CallSender

log = logging.getLogger(__name__)

# After so many runs the user is told of a failure that may pass within seconds; these runs cost nothing.
MAX_SUBMISSION_RUNS = 3
# A job fails after so many begun runs. Only runs that are broken off can become so many.
MAX_BEGUN = 12
_SOON_S = 2.0
# So long after it began, another run's create call counts as lost: its timeout (60 s) and a margin.
LOST_AFTER_S = 75.0


@dataclass(kw_only=True)
class Submission:
    """The task `SUBMIT`."""

    store: JobStore
    abilities: AbilitiesCache
    sender: CallSender
    job_message: JobMessage
    account_queue: AccountQueue
    clock: Callable[[], float] = time.time

    async def run(self, job_id: str) -> None:
        """Submit the job if it is in the state `SUBMITTING`. Idempotent. Raises `TryLater`."""
        job = await self.store.get(job_id)
        if job is None or job.state is not JobState.SUBMITTING:
            return
        is_begun = bool(job.create_started_at) and not job.is_asking_again
        repeated = await self.sender.repeatable(job) if is_begun else None
        if is_begun and not repeated:
            await self._wait_for_answer(job)
            return
        run = await self.store.count_run(job_id, Run.SUBMIT)
        if repeated:
            await self._answered(job, repeated, await self.sender.repeat(job, repeated, run))
        elif run > MAX_BEGUN:
            await self._fail(job, Failure("internal", charged=False), f"{MAX_BEGUN} runs never ended")
        else:
            await self._submit(job, run)

    async def _wait_for_answer(self, job: Job) -> None:
        """Raise `TryLater` while another run's call may be answered; then record its answer as lost."""
        open_s = job.create_started_at + LOST_AFTER_S - self.clock()
        if open_s > 0 and not job.answer_lost_at:
            raise TryLater(open_s, f"job {job.id}: its create call may still be answered")
        # A process was killed, or lost Redis, during the call, which may have been accepted.
        log.warning("job %s: the answer to its create call is lost: its process was killed", job.id)
        await self._answer_lost(job, job.create_started_by, job.provider)

    async def _submit(self, job: Job, run: int) -> None:
        """Ask the providers in turn until one accepts; the earlier ones have charged nothing."""
        candidates = await self._candidates(job)
        affordable = await self._affordable(job, candidates)
        try:
            if affordable:
                await self._ask_in_turn(job, affordable, run)
            else:
                told = Failure(job.refusal or "unreachable", charged=False)
                failure = _why_not_affordable(job, candidates) or told
                await self._fail(job, failure, "no provider takes it at this price")
        except OverLimit as error:
            await self._fail(job, OVER_LIMIT, error)
        except Unreachable as error:
            await self._again_or_refuse(job, run, "unreachable", error)
        except Refused as error:
            if error.code == TOO_BUSY:
                await self._again_or_refuse(job, run, str(error.code), error)
            else:
                await self._refuse(job, str(error.code), error)
        except SourceUnavailable as error:
            if run < MAX_SUBMISSION_RUNS:
                raise TryLater(_SOON_S * run, str(error)) from error
            await self._fail(job, Failure("source_gone", charged=False), error)
        except SourceGone as error:
            await self._fail(job, Failure("source_gone", charged=False), error)

    async def _candidates(self, job: Job) -> list[Candidate]:
        """Return the providers to ask: those not asked yet, or else all that may still take it."""
        calls = await self.sender.calls.of_job(job.id) if job.create_started_by else []
        refused = [it for it in calls if it.outcome is CallOutcome.REFUSED]
        # the last call's provider was busy, or has refused and was noted as tried
        is_refused = bool(refused and refused[-1] is calls[-1] and calls[-1].provider == job.provider)
        final = [it.provider for it in refused if it.code not in PASSING_CODES]
        for avoid in (job.tried_providers if is_refused else job.asked_before, job.tried_providers, final):
            if found := await self._others(job, avoid):
                return found
        return []

    async def _others(self, job: Job, avoid: Sequence[str]) -> list[Candidate]:
        if job.mode is None:
            raise ValueError(f"job {job.id} is being submitted without a mode")
        return await self.abilities.candidates(job.mode, job.instrument, job.source.duration_s, avoid)

    async def _affordable(self, job: Job, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return those whose price the job's user has agreed to and the credits of its day cover."""
        agreed = [it for it in candidates if job.may_cost(it.price)]
        return [it for it in agreed if await self.store.can_pay(job, it.price)]

    async def _ask_in_turn(self, job: Job, candidates: Sequence[Candidate], run: int) -> None:
        passing: Unreachable | Refused | None = None
        for number, candidate in enumerate(candidates, 1):
            try:
                call = await self._prepare(job, candidate)
                if await self.store.begin_create(job.id, call):
                    await self._answered(job, call, await self.sender.send(job, call, run))
                return
            except (Unreachable, Refused, OverLimit) as error:
                busy = error if isinstance(error, Refused) and error.code == TOO_BUSY else None
                # each further provider may first be asked in the last run for the one before
                if busy and busy.is_soon_over and run < MAX_SUBMISSION_RUNS + number - 1:
                    raise _later(run, busy) from error
                if number == len(candidates):
                    if passing and run < MAX_SUBMISSION_RUNS:
                        raise passing from error  # an earlier provider may take the song soon
                    raise
                passing = busy or (error if isinstance(error, Unreachable) else passing)
                following = candidates[number].provider
                log.warning(
                    "job %s: after %s, %s is asked next: %s", job.id, candidate.provider, following, error
                )
                job = await self.store.get(job.id) or job

    async def _prepare(self, job: Job, candidate: Candidate) -> CreateCall:
        try:
            return await self.sender.prepare(job, candidate)
        except (Unreachable, Refused) as error:
            await self.sender.count_failure(candidate.provider, error)
            raise

    async def _answered(self, job: Job, call: CreateCall, answered: Answered) -> None:
        if answered is Answered.LOST:
            await self._answer_lost(job, call.id, call.provider)
        elif answered is Answered.STORED:
            await self._show_accepted(job)

    async def _again_or_refuse(self, job: Job, run: int, code: str, error: Unreachable | Refused) -> None:
        if run < MAX_SUBMISSION_RUNS:
            raise _later(run, error) from error
        await self._refuse(job, code, error)

    async def _refuse(self, job: Job, code: str, why: object) -> None:
        """Fail a job that no affordable provider takes; the failure says why the others are not asked."""
        current = await self.store.get(job.id) or job
        others = await self._others(current, (*current.tried_providers, current.provider))
        failure = None if await self._affordable(current, others) else _why_not_affordable(current, others)
        told = Failure(more_helpful(current.refusal, code), charged=False)
        await self._fail(current, failure or told, why)

    async def _answer_lost(self, job: Job, call: str, provider_name: str) -> None:
        provider = self.sender.providers.get(provider_name)
        has_callbacks = provider is None or provider.capabilities.has_callbacks
        lost = await retry_until_stored(
            lambda: self.store.lose_answer(job.id, call), f"job {job.id}: the lost answer is not stored yet"
        )
        if self.sender.links is None or not has_callbacks:  # no result can come: polling needs the task id
            await self._fail(job, Failure("lost", charged=None), "the answer to its create call is lost")
        elif lost:
            await self._show(job)

    async def _fail(self, job: Job, failure: Failure, why: object) -> None:
        current, credits = await self.store.get(job.id), None
        if current and current.asked_again_by and current.create_started_at:
            # an earlier call may have been charged; if all have failed, the store returns this one's price
            have_failed = (await self.store.history(job.id)).have_calls_failed
            failure = replace(failure, charged=current.is_other_charged if have_failed else None)
            credits = Credits.SETTLE
        if await self.store.fail(job.id, [JobState.SUBMITTING], failure, credits):
            log.warning("job %s: failed with %s: %s", job.id, failure.code, why)
            await self._show(job)
            await self.account_queue.next(job.account)

    async def _show_accepted(self, job: Job) -> None:
        """Show that the job is being split, unless its message says so; otherwise a progress update does."""
        current = await self.store.get(job.id)
        if current is None or current.shown_at < current.picked_at:
            return  # the process that has stored the user's choice is about to show the job's newest state
        if current.shown_at >= job.moved_at and self.clock() - job.moved_at < WORTH_TELLING_S:
            return  # the message says so already
        try:
            if await self.job_message.show_if_changed(current, TELEGRAM_PATIENCE_S):
                await self.job_message.show_newer_state(current)
        except (TelegramError, TryLater) as error:
            log.warning("job %s: its message could not be updated: %s", job.id, error)

    async def _show(self, job: Job) -> None:
        """Show the job if Telegram allows it now; otherwise recovery shows the end of a job later."""
        try:
            await self.job_message.show_current(job.id)
        except (TelegramError, TryLater) as error:
            log.warning("job %s: its message could not be updated: %s", job.id, error)


def _later(run: int, error: Unreachable | Refused) -> TryLater:
    """Return the order to try again after the pause that the provider asks for, if it does."""
    told_s = error.retry_after_s if isinstance(error, Refused) else None
    return TryLater(min(told_s or _SOON_S * run, LONGEST_BUSY_S), str(error))


def _why_not_affordable(job: Job, candidates: Sequence[Candidate]) -> Failure | None:
    """Return the failure of a job that can afford none of these; `None` if there are none."""
    if not candidates:
        return None
    return OVER_LIMIT if any(job.may_cost(it.price) for it in candidates) else DEARER
