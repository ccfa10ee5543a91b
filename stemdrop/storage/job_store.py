"""`JobStore`: the jobs in Redis and their atomic steps."""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, replace
from typing import Any, cast

from redis.asyncio import Redis

from stemdrop.domain.allowance import Allowance, day_of, renews_in
from stemdrop.domain.jobs import CANCELLABLE, CREDITS, Failure, Job, JobState, Mode, encode
from stemdrop.domain.outcomes import Credits, History, Picked, Receipt, Run, Sent
from stemdrop.domain.results import Result
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.storage import job_scripts
from stemdrop.storage.connection import script, translated
from stemdrop.storage.keys import (
    DELIVERED,
    FAILED,
    FLIGHT,
    INCOMPLETE,
    JOB,
    JOB_LIFETIME_S,
    LATE,
    OF_ACCOUNT,
    ONCE,
    OPEN,
    PACKED,
    PING,
    QUEUE,
    SENDING,
    SENDING_LIFETIME_S,
    SENT,
    SPENT,
    TASK,
)

log = logging.getLogger(__name__)

# So many jobs of one account are under way at once; the rest waits in line, and so nobody waits for one
# person's fifty songs.
MAX_IN_FLIGHT = 3

# What a job holds besides the attributes of `Job`.
_RUNS = "runs:{}"  # counter per kind of task: how often it was begun; with ":by" behind it, who counted last
_DELIVERY_OWNER = "delivery_token"  # random, of the run that delivers the job
_RETRIED_AS = "retried_as"  # the job that 'try again' made of this one
# `create_started_by`: which call of `begin_create` won; `once`: the key under which it was added


class JobStore:
    """The jobs in Redis. Every method raises `StoreUnavailable` when Redis does not answer.

    A step that two processes may take at once is one script, and its result says who won.
    """

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._create = script(redis, job_scripts.CREATE)
        self._pick = script(redis, job_scripts.PICK)
        self._promote = script(redis, job_scripts.PROMOTE)
        self._move = script(redis, job_scripts.MOVE)
        self._write = script(redis, job_scripts.WRITE)
        self._count = script(redis, job_scripts.COUNT)
        self._begin_create = script(redis, job_scripts.BEGIN_CREATE)
        self._lose_answer = script(redis, job_scripts.LOSE_ANSWER)
        self._ask_again = script(redis, job_scripts.ASK_AGAIN)
        self._not_accepted = script(redis, job_scripts.NOT_ACCEPTED)
        self._accept = script(redis, job_scripts.ACCEPT)
        self._mark_retried = script(redis, job_scripts.MARK_RETRIED)
        self._receive = script(redis, job_scripts.RECEIVE)
        self._migrate = script(redis, job_scripts.MIGRATE)
        self._close = script(redis, job_scripts.CLOSE)
        self._reopen = script(redis, job_scripts.REOPEN)
        self._claim = script(redis, job_scripts.CLAIM)
        self._sending = script(redis, job_scripts.SENDING)
        self._forget = script(redis, job_scripts.FORGET)

    async def ping(self) -> None:
        """Returns if Redis answers and takes writes."""
        async with translated():
            await self._redis.set(PING, "1", ex=60)

    async def add(self, job: Job, once: str) -> str:
        """Store a new job unless `once` (a song's message, a tap) already made one.

        Returns the id of the job that holds `once`: `job.id`, or an earlier one's.
        """
        now = self._clock()
        flat = _flat({**job.to_fields(), "created_at": str(now), "moved_at": str(now)})
        keys = [ONCE.format(once), JOB.format(job.id), OF_ACCOUNT.format(job.account)]
        async with translated():
            return str(await self._create(keys, [job.id, now, JOB_LIFETIME_S, job.state.value, *flat]))

    async def claim(self, job: Job, user_id: int) -> bool:
        """Make a job that was anybody's this user's, who then pays for it. False: somebody was quicker."""
        keys = [JOB.format(job.id), OF_ACCOUNT.format(job.account), OF_ACCOUNT.format(user_id)]
        async with translated():
            return bool(await self._claim(keys, [job.id, str(user_id), JOB_LIFETIME_S]))

    async def pick(
        self, job: Job, mode: Mode, instrument: str, limit: int, price: int | None = None
    ) -> tuple[Picked, int]:
        """Choose how to split it and hold what that costs, unless its account's day would exceed `limit` (0:
        none). `price` is the mode's unless said otherwise.

        One step, so that no two taps spend more than is allowed. Returns also the credits of the day that
        are spent or held.
        """
        now = self._clock()
        day = day_of(now)
        keys = [
            *(JOB.format(job.id), SPENT.format(job.account, day)),
            *(FLIGHT.format(job.account), QUEUE.format(job.account)),
        ]
        held = CREDITS[mode] if price is None else price
        changes: dict[str, object] = {"mode": mode, "instrument": instrument, "account": job.account}
        changes |= {"account_day": day, "picked_at": now}
        args: list[str | float] = [job.id, now, limit, MAX_IN_FLIGHT, held, *_flat(encode(changes))]
        async with translated():
            outcome, spent = await self._pick(keys, args)
        return Picked(outcome), int(spent)

    async def promote(self, account: int) -> list[str]:
        """Move on the jobs of this account whose turn has come; returns the ids of those to be submitted."""
        keys = [FLIGHT.format(account), QUEUE.format(account)]
        async with translated():
            return cast(list[str], await self._promote(keys, [self._clock(), MAX_IN_FLIGHT]))

    async def place(self, job: Job) -> int:
        """How far back in its account's line the job is: 1 is the next; 0: it is in none."""
        async with translated():
            rank = await self._redis.zrank(QUEUE.format(job.account), job.id)
        return 0 if rank is None else cast(int, rank) + 1

    async def allowance(self, account: int, limit: int) -> Allowance:
        """What this account has spent or holds today, beside its `limit` (0: none)."""
        now = self._clock()
        async with translated():
            values = await self._redis.hvals(SPENT.format(account, day_of(now)))
        return Allowance(sum(int(str(value)) for value in values), limit, renews_in(now))

    async def get(self, job_id: str) -> Job | None:
        """The job, or `None` if there is none (any more)."""
        async with translated():
            stored = await self._redis.hgetall(JOB.format(job_id))
        return Job.from_fields(cast(dict[str, str], stored)) if stored.get("state") else None

    async def beginning(self, prefix: str) -> list[str]:
        """The ids of all jobs that begin with these hexadecimal digits; looks through all keys."""
        found: set[str] = set()
        async with translated():
            async for key in self._redis.scan_iter(match=JOB.format(f"{prefix}*"), count=1000):
                found.add(str(key).removeprefix(JOB.format("")).partition(":")[0])
        return sorted(found)

    async def history(self, job_id: str) -> History:
        """What is known of the job beside its attributes; of no job it is empty."""
        async with translated(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hmget(JOB.format(job_id), [*(_RUNS.format(kind) for kind in Run), _RETRIED_AS])
            pipeline.zscore(OPEN, job_id)
            (*counters, retried_as), opened_at = await pipeline.execute()
        runs = {kind: int(count) for kind, count in zip(Run, counters, strict=True) if count}
        return History(runs, retried_as or "", opened_at is not None)

    async def set(self, job_id: str, **changes: object) -> None:
        """Write attributes that no two processes write at once (a message's id, a poll's time)."""
        await self._write_fields(job_id, encode(changes))

    async def move(
        self,
        job_id: str,
        from_states: Iterable[JobState],
        to_state: JobState,
        credits: Credits = Credits.KEEP,
        **changes: object,
    ) -> bool:
        """Move the job, with its credits, and write `changes`, in one step. False: moved before.

        Also where it would fail as if the create call had not been begun, which it has, or the reverse.
        """
        allowed = f",{','.join(from_states)},"
        args = [job_id, self._clock(), allowed, to_state.value, credits.value, *_flat(encode(changes))]
        async with translated():
            return bool(await self._move([JOB.format(job_id)], args))

    async def fail(self, job_id: str, from_states: Iterable[JobState], failure: Failure) -> bool:
        """Move the job to `failed` with the reason; what was surely not charged goes back to its account.

        False: somebody else moved it before.
        """
        credits = Credits.RETURN if failure.charged is False else Credits.SETTLE
        return await self.move(job_id, from_states, JobState.FAILED, credits, failure=failure, is_timed=True)

    async def cancel(self, job_id: str, by: str = "") -> bool:
        """Move the job to `cancelled`. False: it has a result, or has ended."""
        return await self.move(job_id, CANCELLABLE, JobState.CANCELLED, Credits.CANCEL, cancelled_by=by)

    async def deliver_again(self, job_id: str, credits: Credits = Credits.KEEP) -> bool:
        """Send what is not sent yet of a job that has ended, as if never tried. False: moved before."""
        fresh: dict[str, Any] = {"missing": (), "failure": None}
        fresh |= {_RUNS.format(kind): 0 for kind in Run}
        ended = [JobState.DELIVERED, JobState.FAILED]
        return await self.move(job_id, ended, JobState.DELIVERING, credits, **fresh)

    async def close(self, job_id: str) -> None:
        """The user has been shown how the job ended, or never can be: nothing is left to do for it.

        A job that has not ended, or no longer has, stays open.
        """
        async with translated():
            await self._close([JOB.format(job_id)], [job_id])

    async def reopen(self, job_id: str) -> None:
        """The opposite of `close`: how the job ended may have been overwritten by what no longer holds."""
        async with translated():
            await self._reopen([JOB.format(job_id)], [job_id, self._clock()])

    async def mark_retried(self, job_id: str, new_id: str) -> None:
        """Another job has taken this failed one's place, and its message: no result is waited for any more,
        and no admin has to look after it."""
        async with translated():
            await self._mark_retried([JOB.format(job_id)], [job_id, new_id])

    @asynccontextmanager
    async def sending(self, job_id: str) -> AsyncIterator[None]:
        """While the job's message is being sent, by one at a time.

        Raises `TryLater` when somebody else sends it; who died of it is followed within seconds.
        """
        key, word = SENDING.format(job_id), secrets.token_hex(8)
        async with translated():
            is_free = await self._redis.set(key, word, ex=SENDING_LIFETIME_S, nx=True)
        if not is_free:
            raise TryLater(1, f"job {job_id}: its message is being sent")
        renewing = asyncio.create_task(self._renew_sending(key, word))
        try:
            yield
        finally:
            renewing.cancel()
            async with translated():
                await self._sending([key], [word, 0])

    async def _renew_sending(self, key: str, word: str) -> None:
        while True:
            await asyncio.sleep(SENDING_LIFETIME_S / 3)
            with suppress(StoreUnavailable):
                async with translated():
                    await self._sending([key], [word, SENDING_LIFETIME_S])

    async def begin_create(self, job_id: str) -> str:
        """Note that the create call is about to be made and return its name.

        Empty: it was made before, and must not be made again unless `ask_again` allows it, once.
        """
        call = secrets.token_hex(8)
        async with translated():
            may_begin = await self._begin_create([JOB.format(job_id)], [self._clock(), call])
        return call if may_begin else ""

    async def not_accepted(self, job: Job, call: str = "") -> None:
        """Note that this create call (default: the last) certainly came to nothing: it may be made again.

        What the job held when it ended, or was deleted, comes back, unless an earlier call may have cost it.
        """
        keys = [JOB.format(job.id), SPENT.format(job.account, job.account_day)]
        async with translated():
            await self._not_accepted(keys, [job.id, self._clock(), call])

    async def lose_answer(self, job_id: str, *, is_uploaded: bool) -> bool:
        """Note that the create call's answer is lost. False: the job no longer waits for it."""
        async with translated():
            args: list[str | float] = [self._clock(), "true" if is_uploaded else "false"]
            return bool(await self._lose_answer([JOB.format(job_id)], args))

    async def ask_again(self, job: Job, tap_id: str) -> bool:
        """Allow one more create call for a job whose last one has lost its answer.

        False: the call was allowed or made since `job` was read, or the first one was accepted after all.
        """
        async with translated():
            # compared as text: `repr` is how it was written
            args: list[str | float] = [job.id, self._clock(), tap_id, job.create_started_at]
            return bool(await self._ask_again([JOB.format(job.id)], args))

    async def note_source_fetched(self, job_id: str) -> None:
        """Note that the provider has fetched the job's source; the next create call takes the note back."""
        await self.set(job_id, source_fetched_at=self._clock())

    async def accept(self, job_id: str, task_id: str) -> Receipt:
        """Store the create call's task id and move on to `separating`, unless the callback was quicker."""
        keys = [JOB.format(job_id), TASK.format(task_id)]
        args: list[str | float] = [job_id, task_id, self._clock(), JOB_LIFETIME_S]
        async with translated():
            return Receipt(await self._accept(keys, args))

    async def receive(self, job_id: str, chat_id: int, task_id: str, result: Result) -> Receipt:
        """Store a result and move on to `delivering`. Job, chat and task must belong together."""
        keys = [JOB.format(job_id), TASK.format(task_id)]
        stored = encode({"result": result})
        args: list[str | float] = [job_id, str(chat_id), task_id, self._clock(), JOB_LIFETIME_S]
        args += [stored["result"], stored["has_stems"], int(result.is_success), int(result.is_refunded)]
        async with translated():
            return Receipt(await self._receive(keys, args))

    async def migrate(self, job: Job, new_chat_id: int) -> Job:
        """The job's group became a supergroup; its callback link still carries the old chat id.

        Returns the job as it is now: of the old chat's messages, the song's among them, none is in the new
        one. Twice is once.
        """
        async with translated():
            await self._migrate([JOB.format(job.id)], [new_chat_id])
        moved = replace(job, chat_id=new_chat_id, message_id=0, source_message_id=0)
        return await self.get(job.id) or moved

    async def tick(self, job_id: str, sent: dict[str, Sent]) -> None:
        """Note that these stems (key → message) are in the chat."""
        await self._write_sent(job_id, sent, SENT)

    async def sent(self, job_id: str) -> dict[str, Sent]:
        """What is in the chat already: stem key → message."""
        return await self._read_sent(job_id, SENT)

    async def tick_packed(self, job_id: str, sent: dict[str, Sent]) -> None:
        """Note what was made of the stems beside them and sent (name → message)."""
        await self._write_sent(job_id, sent, PACKED)

    async def packed(self, job_id: str) -> dict[str, Sent]:
        """What was made of the stems before: name → message."""
        return await self._read_sent(job_id, PACKED)

    async def count_run(self, job_id: str, kind: Run, by: int = 1) -> int:
        """Count one more (or, `by` -1, one less) run of this kind for the job; returns how many by now."""
        async with translated():
            args: list[str | float] = [_RUNS.format(kind), by, secrets.token_hex(8)]
            return int(await self._count([JOB.format(job_id)], args))

    async def begin_delivery(self, job_id: str) -> str:
        """Make the caller the owner of the job's delivery; returns the token that `owns_delivery` checks."""
        token = secrets.token_hex(8)
        await self._write_fields(job_id, {_DELIVERY_OWNER: token})
        return token

    async def owns_delivery(self, job_id: str, token: str) -> bool:
        """Whether the job is still being delivered, and no later run has begun to deliver it."""
        async with translated():
            state, owner = await self._redis.hmget(JOB.format(job_id), ["state", _DELIVERY_OWNER])
        return state == JobState.DELIVERING and owner == token

    async def runs(self, job_id: str, kind: Run) -> int:
        """How many runs of this kind have been counted."""
        async with translated():
            return int(await self._redis.hget(JOB.format(job_id), _RUNS.format(kind)) or 0)

    async def open_jobs(self) -> list[Job]:
        """All jobs that are not closed, longest unmoved first. Forgets ids whose job has expired."""
        async with translated():
            ids = cast(list[str], await self._redis.zrange(OPEN, 0, -1))
        return await self._get_all(OPEN, ids)

    async def failed_jobs(self, limit: int = 20) -> list[Job]:
        """The last jobs that failed and were not tried again, over all accounts, newest first."""
        return await self._last(FAILED, limit)

    async def late_jobs(self, limit: int) -> list[Job]:
        """Jobs that ran out of time and are to be asked for now, the longest due first."""
        async with translated():
            ids = await self._redis.zrangebyscore(LATE, "-inf", self._clock(), start=0, num=limit)
        return await self._get_all(LATE, cast(list[str], ids))

    async def ask_later(self, job_id: str, at: float | None) -> None:
        """When to ask for it again, in Unix seconds; `None`: no more."""
        async with translated():
            if at is None:
                await self._redis.zrem(LATE, job_id)
            else:
                await self._redis.zadd(LATE, {job_id: at}, xx=True)

    async def incomplete_jobs(self, limit: int = 20) -> list[Job]:
        """The last jobs that were delivered without some of their stems, over all accounts, newest first."""
        return await self._last(INCOMPLETE, limit)

    async def dismiss(self, job_id: str) -> bool:
        """Nobody has to look after this failed or incomplete job any more. False: nobody had."""
        async with translated(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.zrem(FAILED, job_id)
            pipeline.zrem(INCOMPLETE, job_id)
            return any(await pipeline.execute())

    async def delivered_jobs(self, limit: int = 20) -> list[Job]:
        """The last jobs that were delivered, over all accounts, newest first."""
        return await self._last(DELIVERED, limit)

    async def jobs_of(self, account: int, limit: int | None = None) -> list[Job]:
        """One account's jobs, newest first, at most `limit` (default: all)."""
        return await self._last(OF_ACCOUNT.format(account), limit)

    async def forget(self, job_id: str, only_in: JobState | None = None) -> bool:
        """Delete the job and all that leads to it; a result that still comes for it is nobody's.

        False: there was none, or it was not (any more) `only_in` this state.
        """
        async with translated():
            keys = [key.format(job_id) for key in (JOB, SENT, PACKED)]
            return bool(await self._forget(keys, [job_id, self._clock(), only_in or ""]))

    async def _write_sent(self, job_id: str, sent: dict[str, Sent], key: str) -> None:
        fields = {name: json.dumps(asdict(value)) for name, value in sent.items()}
        await self._write_fields(job_id, fields, key)

    async def _read_sent(self, job_id: str, key: str) -> dict[str, Sent]:
        async with translated():
            stored = await self._redis.hgetall(key.format(job_id))
        return {str(name): Sent(**json.loads(value)) for name, value in stored.items()}

    async def _write_fields(self, job_id: str, fields: dict[str, str], key: str = JOB) -> None:
        keys = [JOB.format(job_id), key.format(job_id)]
        async with translated():
            await self._write(keys, [JOB_LIFETIME_S, *_flat(fields)])

    async def _last(self, index: str, limit: int | None) -> list[Job]:
        async with translated():
            ids = cast(list[str], await self._redis.zrange(index, 0, (limit or 0) - 1, desc=True))
        return await self._get_all(index, ids)

    async def _get_all(self, index: str, ids: list[str]) -> list[Job]:
        """These jobs; an id whose job has expired is taken out of `index`."""
        async with translated(), self._redis.pipeline(transaction=False) as pipeline:
            for job_id in ids:
                pipeline.hgetall(JOB.format(job_id))
            found = cast(list[dict[str, str]], await pipeline.execute())
            expired = [job_id for job_id, stored in zip(ids, found, strict=True) if not stored.get("state")]
            if expired:
                await self._redis.zrem(index, *expired)
        return [job for stored in found if stored.get("state") and (job := read_job(stored))]


def _flat(fields: dict[str, str]) -> list[str]:
    return [text for pair in fields.items() for text in pair]


def read_job(stored: dict[str, str]) -> Job | None:
    """A job that a newer version has written may be unreadable here; the others are not to suffer from it."""
    try:
        return Job.from_fields(stored)
    except (KeyError, TypeError, ValueError) as error:
        log.error("job %s cannot be read: %s: %s", stored.get("id"), type(error).__name__, error)
        return None
