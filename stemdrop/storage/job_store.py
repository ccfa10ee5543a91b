"""`JobStore`: the jobs in Redis, and the atomic steps that change them."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, replace
from typing import Any, cast

from stemdrop.domain.allowance import day_of
from stemdrop.domain.job_fields import encode, to_fields
from stemdrop.domain.jobs import CANCELLABLE, CREDITS, Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Credits, DeliveryRun, Picked, Run, Sent
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.storage import choice_scripts, record_scripts
from stemdrop.storage.call_steps import CallSteps, flat
from stemdrop.storage.job_lists import DELIVERY_OWNER, RUNS
from stemdrop.storage.keys import (
    DESK,
    FLIGHT,
    JOB,
    JOB_LIFETIME_S,
    OF_ACCOUNT,
    ONCE,
    PACKED,
    PING,
    QUEUE,
    SENDING,
    SENDING_LIFETIME_S,
    SENT,
    SPENT,
)

# The most jobs of one account in progress at once. Others wait in its queue: one user's fifty songs must not
# delay another user's song.
MAX_IN_FLIGHT = 3


class JobStore(CallSteps):
    """The jobs' steps, each one script. Every method raises `StoreUnavailable`."""

    async def ping(self) -> None:
        """Return if Redis answers and takes writes."""
        await self._redis.set(PING, "1", ex=60)

    async def add(self, job: Job, once: str) -> str:
        """Store a new job unless `once` has already made one; return the id of the job that `once` made."""
        now = self._clock()
        fields = {**to_fields(job), "created_at": str(now), "moved_at": str(now)}
        keys = [ONCE.format(once), JOB.format(job.id), OF_ACCOUNT.format(job.account)]
        args = [job.id, now, JOB_LIFETIME_S, job.state.value, *flat(fields)]
        return str(await self._run(choice_scripts.CREATE, keys, args))

    async def claim(self, job: Job, user_id: int) -> bool:
        """Give a job of the whole group to this user, who then pays for it. False: another user has it."""
        keys = [JOB.format(job.id), OF_ACCOUNT.format(job.account), OF_ACCOUNT.format(user_id)]
        return bool(await self._run(choice_scripts.CLAIM, keys, [job.id, str(user_id), JOB_LIFETIME_S]))

    async def pick(
        self,
        job: Job,
        mode: Mode,
        instrument: str,
        limit: int,
        price: int | None = None,
        *,
        file_format: str = "",
        starts_at: float = 0,
        must_be_free: bool = False,
        agreed_price: int | None = None,
        is_unlimited: bool = False,
    ) -> tuple[Picked, int]:
        """Choose how to split the song and hold the credits, within the `limit` of the day (0: none).

        `price` is that of the mode by default. No call may cost more than `agreed_price`; with `is_unlimited`
        no call is counted. With `starts_at`, the job is picked only if it still starts by itself, and with
        `must_be_free`, only if another job has paid for its result. Returns the outcome and the credits of
        the day that are spent or held.
        """
        now = self._clock()
        day = day_of(now)
        account = job.account
        keys = [JOB.format(job.id), SPENT.format(account, day)]
        keys += [FLIGHT.format(account), QUEUE.format(account)]
        changes: dict[str, object] = {"mode": mode, "instrument": instrument, "file_format": file_format}
        changes |= {"account": account, "account_day": day, "picked_at": now}
        changes |= {"agreed_price": agreed_price, "is_unlimited": is_unlimited}
        held = CREDITS[mode] if price is None else price
        split_id = job.source.split_id(mode, instrument, file_format)
        args = [job.id, now, limit, MAX_IN_FLIGHT, held, split_id, starts_at or "", int(must_be_free)]
        args += flat(encode(changes))
        outcome, spent = await self._run(choice_scripts.PICK, keys, args)
        return Picked(outcome), int(spent)

    async def start_by_itself(self, job: Job) -> bool:
        """Let the job start by itself in its mode, and announce that anew. False: it has been picked."""
        wish = {"mode": job.mode, "instrument": job.instrument, "starts_at": job.starts_at, "shown_at": 0.0}
        # its message no longer asks about the stems of the earlier choice
        args = flat(encode({**wish, "is_cache_lost": False}))
        return bool(await self._run(choice_scripts.START_BY_ITSELF, [JOB.format(job.id)], args))

    async def undo(self, job_id: str) -> bool:
        """Let a job that would start by itself wait for a choice. False: it has been picked. Idempotent."""
        return bool(await self._run(choice_scripts.UNDO, [JOB.format(job_id)], []))

    async def promote(self, account: int) -> list[str]:
        """Move on the next jobs in this account's queue; return the ids of those to be submitted."""
        keys = [FLIGHT.format(account), QUEUE.format(account)]
        return cast(list[str], await self._run(choice_scripts.PROMOTE, keys, [self._clock(), MAX_IN_FLIGHT]))

    async def move(
        self,
        job_id: str,
        from_states: Iterable[JobState],
        to_state: JobState,
        credits: Credits = Credits.KEEP,
        *,
        starts_at: float = 0,
        **changes: object,
    ) -> bool:
        """Move the job, with its credits, and write `changes`, in one step. False: it has moved before.

        With `starts_at`, only a job that still starts by itself moves. A job in `submitting` does not fail as
        not charged if its create call has begun, nor as charged if none has begun: both return False.
        """
        allowed = f",{','.join(from_states)},"
        args = [job_id, self._clock(), allowed, to_state.value, credits.value, starts_at or ""]
        args += flat(encode(changes))
        return bool(await self._run(record_scripts.MOVE, [JOB.format(job_id)], args))

    async def fail(
        self, job_id: str, from_states: Iterable[JobState], failure: Failure, credits: Credits | None = None
    ) -> bool:
        """Fail the job, and return its credits if they were surely not charged. False: it has moved before.

        `credits` says what becomes of the price of one call if another call was charged, too.
        """
        credits = credits or (Credits.RETURN if failure.charged is False else Credits.SETTLE)
        return await self.move(job_id, from_states, JobState.FAILED, credits, failure=failure, is_timed=True)

    async def fail_delivery(self, job: Job, failure: Failure) -> bool:
        """Fail a job that is being delivered, as `fail` does, and note what its calls have cost."""
        if job.paid_by:
            failure = replace(failure, charged=False)
        credits = Credits.RETURN if failure.charged is False else Credits.SETTLE
        if job.is_other_charged:
            failure = replace(failure, charged=True)
        return await self.fail(job.id, [JobState.DELIVERING], failure, credits)

    async def cancel(self, job_id: str, by: str = "") -> bool:
        """Move the job to `cancelled`. False: it has a result, or has ended."""
        return await self.move(job_id, CANCELLABLE, JobState.CANCELLED, Credits.CANCEL, cancelled_by=by)

    async def resume(self, job_id: str) -> JobState | None:
        """Resume a cancelled job at no further cost; return the state that the job has now."""
        state = await self._run(choice_scripts.RESUME, [JOB.format(job_id)], [job_id, self._clock()])
        return JobState(state) if state else None

    async def leave(self, job: Job) -> bool:
        """Let a job that waits in vain for another one go on by itself. False: it has gone on before."""
        args = [job.id, self._clock(), job.waits_for]
        return bool(await self._run(choice_scripts.LEAVE, [JOB.format(job.id)], args))

    async def deliver_again(self, job_id: str, credits: Credits = Credits.KEEP) -> bool:
        """Let an ended job send its missing stems, and count its runs anew. False: it has moved before."""
        fresh: dict[str, Any] = {"missing": (), "failure": None, DELIVERY_OWNER: ""} | {
            RUNS.format(kind): 0 for kind in Run
        }
        ended = [JobState.DELIVERED, JobState.FAILED]
        return await self.move(job_id, ended, JobState.DELIVERING, credits, **fresh)

    async def close(self, job_id: str) -> None:
        """Note that nothing is left to do for a job; one that has not ended stays open."""
        await self._run(record_scripts.CLOSE, [JOB.format(job_id)], [job_id])

    async def reopen(self, job_id: str) -> None:
        """Undo `close`, since an outdated text may have replaced the job's end in its message."""
        await self._run(record_scripts.REOPEN, [JOB.format(job_id)], [job_id, self._clock()])

    async def mark_retried(self, job_id: str, new_id: str) -> None:
        """Note that another job replaces this failed one: it is no longer shown or listed."""
        await self._run(record_scripts.MARK_RETRIED, [JOB.format(job_id)], [job_id, new_id])

    @asynccontextmanager
    async def sending(self, job_id: str) -> AsyncIterator[None]:
        """Hold the lock for sending the job's message; it expires soon after a crash. Raises `TryLater`."""
        key, token = SENDING.format(job_id), secrets.token_hex(8)
        is_free = await self._redis.set(key, token, ex=SENDING_LIFETIME_S, nx=True)
        if not is_free:
            raise TryLater(1, f"job {job_id}: its message is being sent")
        renewing = asyncio.create_task(self._renew_sending(key, token))
        try:
            yield
        finally:
            renewing.cancel()
            await self._run(record_scripts.SENDING, [key], [token, 0])

    async def _renew_sending(self, key: str, token: str) -> None:
        while True:
            await asyncio.sleep(SENDING_LIFETIME_S / 3)
            with suppress(StoreUnavailable):
                await self._run(record_scripts.SENDING, [key], [token, SENDING_LIFETIME_S])

    async def migrate(self, job: Job, new_chat_id: int) -> Job:
        """Move the job to the supergroup that its group became. Idempotent.

        Its callback link still names the old chat. Returns the job as it is now: without its messages, which
        are in the old chat.
        """
        await self._run(record_scripts.MIGRATE, [JOB.format(job.id)], [new_chat_id, job.id])
        moved = replace(job, chat_id=new_chat_id, message_id=0, source_message_id=0, replaced_message_id=0)
        return await self.get(job.id) or moved

    async def tick(self, job_id: str, sent: dict[str, Sent]) -> None:
        """Note that these stems (key → message) are in the chat."""
        await self._write_sent(job_id, sent, SENT)

    async def tick_packed(self, job_id: str, sent: dict[str, Sent]) -> None:
        """Note that these archives and voice messages (name → message) were sent."""
        await self._write_sent(job_id, sent, PACKED)

    async def count_run(self, job_id: str, kind: Run, by: int = 1) -> int:
        """Count one more (or, `by` -1, one less) run of this kind; return how many are counted now."""
        args: list[str | float] = [RUNS.format(kind), by, secrets.token_hex(8)]
        return int(await self._run(record_scripts.COUNT, [JOB.format(job_id)], args))

    async def begin_delivery(self, job_id: str) -> DeliveryRun | None:
        """Count a new run, as broken until it ends, and make it the owner of the job's delivery.

        `None`: the job is not being delivered. `owns_delivery` checks the run's token.
        """
        token, counts = secrets.token_hex(8), [RUNS.format(it) for it in (Run.DELIVER, Run.BROKEN_DELIVERY)]
        args = [token, DELIVERY_OWNER, *counts]
        found = await self._run(record_scripts.BEGIN_DELIVERY, [JOB.format(job_id)], args)
        return DeliveryRun(token, *found) if found else None

    async def forget(self, job_id: str, only_in: JobState | None = None) -> bool:
        """Delete the job with its keys. False: there was none, or it was in another state than `only_in`."""
        keys = [key.format(job_id) for key in (JOB, SENT, PACKED, DESK)]
        return bool(await self._run(record_scripts.FORGET, keys, [job_id, self._clock(), only_in or ""]))

    async def _write_sent(self, job_id: str, sent: dict[str, Sent], key: str) -> None:
        fields = {name: json.dumps(asdict(value)) for name, value in sent.items()}
        await self._write_fields(job_id, fields, key)
