"""`JobStore`: all Redis keys, lifetimes and atomic steps. No other module sends Redis a command
(the engine's streams, and the flood limiter's two scripts, aside)."""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from stemdrop.errors import StoreRefused, StoreUnavailable
from stemdrop.jobs import Failure, Job, JobState, encode
from stemdrop.results import Result

log = logging.getLogger(__name__)

T = TypeVar("T")

# Keys. All begin with `stemdrop:`; the engine's with its queue's name.
JOB = "stemdrop:job:{}"  # hash: one field per attribute of `Job`, and the counters below
SENT = "stemdrop:job:{}:sent"  # hash: stem key → JSON of `Sent`
TASK = "stemdrop:task:{}"  # string: the provider's task id → job id
ONCE = "stemdrop:once:{}"  # string: what may start only one job → that job's id
OPEN = "stemdrop:jobs:open"  # sorted set: ids of jobs that were picked and whose end is not shown, by move
OF_USER = "stemdrop:user:{}:jobs"  # sorted set: ids of one user's jobs, by creation time

# Lifetimes, in seconds.
JOB_LIFETIME_S = 30 * 24 * 3600  # longer than the provider keeps results (14 days)

# What a job holds besides the attributes of `Job`.
_RUNS = "runs:{}"  # counter per kind of task: how often it was begun
_RETRIED_AS = "retried_as"  # the job that 'try again' made of this one
# `create_started_by`: which call of `begin_create` won

_CREATE = """
-- KEYS: once, job, open, of_user   ARGV: id, created_at, lifetime, 1 if picked, field, value, …
local holder = redis.call('GET', KEYS[1])
if holder then return holder end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('HSET', KEYS[2], unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[2], ARGV[3])
-- songs that nobody picks are many, and nobody's to look after
if ARGV[4] == '1' then redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1]) end
redis.call('ZADD', KEYS[4], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[4], ARGV[3])
return ARGV[1]
"""

_MOVE = """
-- KEYS: job, open   ARGV: id, now, allowed states between commas, state, field, value, …
local state = redis.call('HGET', KEYS[1], 'state')
if not state or not string.find(ARGV[3], ',' .. state .. ',', 1, true) then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[4], 'moved_at', ARGV[2])
if #ARGV > 4 then redis.call('HSET', KEYS[1], unpack(ARGV, 5)) end
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
return 1
"""

_WRITE = """
-- KEYS: job   ARGV: field, value, …
-- a job that has expired is not half brought back
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
"""

_BEGIN_CREATE = """
-- KEYS: job   ARGV: now, caller
if redis.call('HGET', KEYS[1], 'state') ~= 'submitting' then return 0 end
local caller = redis.call('HGET', KEYS[1], 'create_started_by')
if caller == ARGV[2] then return 1 end  -- this very call, sent again after a broken connection
if redis.call('HGET', KEYS[1], 'create_started_at') ~= '0' then return 0 end
redis.call('HSET', KEYS[1], 'create_started_at', ARGV[1], 'create_started_by', ARGV[2])
return 1
"""

_ACCEPT = """
-- KEYS: job, task, open   ARGV: id, task_id, now, lifetime
local known = redis.call('HGET', KEYS[1], 'task_id')
if not known then return 'unknown' end
if known ~= '' and known ~= ARGV[2] then return 'foreign' end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[4])
redis.call('HSET', KEYS[1], 'task_id', ARGV[2])
if redis.call('HGET', KEYS[1], 'state') ~= 'submitting' then return 'repeated' end
redis.call('HSET', KEYS[1], 'state', 'separating', 'moved_at', ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
return 'stored'
"""

_RECEIVE = """
-- KEYS: job, task, open   ARGV: id, chat_id, task_id, now, lifetime, result, 1 if success
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'unknown' end
if redis.call('HGET', KEYS[1], 'chat_id') ~= ARGV[2] and
   redis.call('HGET', KEYS[1], 'token_chat_id') ~= ARGV[2] then return 'foreign' end
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[1] then return 'foreign' end
local known = redis.call('HGET', KEYS[1], 'task_id')
if known ~= '' and known ~= ARGV[3] then return 'foreign' end
-- before the create call nothing can be known of a task
if known == '' and redis.call('HGET', KEYS[1], 'create_started_at') == '0' then return 'foreign' end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[5])
redis.call('HSET', KEYS[1], 'task_id', ARGV[3])
local waiting = state == 'submitting' or state == 'separating'
-- stems that come after a failure are paid for: they are delivered all the same
local given_up = state == 'failed' and redis.call('HEXISTS', KEYS[1], 'retried_as') == 0
local failing = state == 'delivering'
  and not string.find(redis.call('HGET', KEYS[1], 'result'), '"code": 200', 1, true)
local late = ARGV[7] == '1' and (given_up or failing)
if not waiting and not late then return 'repeated' end
redis.call('HSET', KEYS[1], 'state', 'delivering', 'moved_at', ARGV[4], 'result', ARGV[6], 'failure', 'null')
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
return 'stored'
"""


class Receipt(StrEnum):
    """What storing a task id or a result came to."""

    STORED = "stored"  # the job moved on
    REPEATED = "repeated"  # known already, or the job no longer waits for it
    FOREIGN = "foreign"  # the task, the chat or the job does not belong to the others
    UNKNOWN = "unknown"  # no such job


@dataclass(frozen=True, slots=True)
class Sent:
    """One stem as it arrived in the chat."""

    message_id: int
    file_id: str
    file_unique_id: str


class Run(StrEnum):
    """Runs of tasks that are counted per job."""

    SUBMIT = "submit"
    DELIVER = "deliver"
    BROKEN_DELIVERY = "broken delivery"  # begun and not ended: its process died, or a bug ended it


class _Script(Protocol):
    def __call__(self, keys: list[str], args: list[str | float]) -> Awaitable[Any]: ...


class JobStore:
    """The jobs in Redis. Every method raises `StoreUnavailable` when Redis does not answer.

    A step that two processes may take at once is one script, and its result says who won.
    """

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock

        def script(text: str) -> _Script:
            return cast(_Script, redis.register_script(text))

        self._create = script(_CREATE)
        self._move = script(_MOVE)
        self._write = script(_WRITE)
        self._begin_create = script(_BEGIN_CREATE)
        self._accept = script(_ACCEPT)
        self._receive = script(_RECEIVE)

    async def ping(self) -> None:
        """Returns if Redis answers and takes writes."""
        async with translated():
            await self._redis.set("stemdrop:ping", "1", ex=60)

    async def add(self, job: Job, once: str) -> str:
        """Store a new job unless `once` (a song's message, a tap) already made one.

        Returns the id of the job that holds `once`: `job.id`, or an earlier one's.
        """
        now = self._clock()
        fields = {**job.to_fields(), "created_at": str(now), "moved_at": str(now)}
        flat = [text for pair in fields.items() for text in pair]
        keys = [ONCE.format(once), JOB.format(job.id), OPEN, OF_USER.format(job.user_id)]
        async with translated():
            picked = "0" if job.state is JobState.CHOOSING else "1"
            return str(await self._create(keys, [job.id, now, JOB_LIFETIME_S, picked, *flat]))

    async def get(self, job_id: str) -> Job | None:
        """The job, or `None` if there is none (any more)."""
        async with translated():
            stored = await self._redis.hgetall(JOB.format(job_id))
        return Job.from_fields(cast(dict[str, str], stored)) if stored.get("state") else None

    async def set(self, job_id: str, **changes: object) -> None:
        """Write attributes that no two processes write at once (a message's id, a poll's time)."""
        await self._write_fields(job_id, {name: encode(name, value) for name, value in changes.items()})

    async def move(
        self, job_id: str, from_states: Iterable[JobState], to_state: JobState, **changes: object
    ) -> bool:
        """Move the job and write `changes` with it, in one step. False: somebody else moved it before."""
        flat = [text for name, value in changes.items() for text in (name, encode(name, value))]
        allowed = f",{','.join(from_states)},"
        args = [job_id, self._clock(), allowed, to_state.value, *flat]
        async with translated():
            return bool(await self._move([JOB.format(job_id), OPEN], args))

    async def fail(self, job_id: str, from_states: Iterable[JobState], failure: Failure) -> bool:
        """Move the job to `failed` with the reason. False: somebody else moved it before."""
        return await self.move(job_id, from_states, JobState.FAILED, failure=failure)

    async def deliver_again(self, job_id: str) -> bool:
        """Send what is not sent yet of a job that has ended, as if never tried. False: moved before."""
        fresh: dict[str, object] = {"missing": (), "failure": None}
        fresh |= {_RUNS.format(kind): 0 for kind in Run}
        return await self.move(job_id, [JobState.DELIVERED, JobState.FAILED], JobState.DELIVERING, **fresh)

    async def close(self, job_id: str) -> None:
        """The user has been shown how the job ended, or never can be: nothing is left to do for it."""
        async with translated():
            await self._redis.zrem(OPEN, job_id)

    async def retry(self, job: Job, new: Job) -> str:
        """Store the job that 'try again' makes of `job`; of two taps one wins. Returns the winner's id."""
        winner = await self.add(new, once=f"retry:{job.id}")
        await self._write_fields(job.id, {_RETRIED_AS: winner})
        return winner

    async def begin_create(self, job_id: str) -> bool:
        """Note that the create call is about to be made. False: it was made before, never make it again."""
        async with translated():
            return bool(await self._begin_create([JOB.format(job_id)], [self._clock(), secrets.token_hex(8)]))

    async def accept(self, job_id: str, task_id: str) -> Receipt:
        """Store the create call's task id and move on to `separating`, unless the callback was quicker."""
        keys = [JOB.format(job_id), TASK.format(task_id), OPEN]
        args: list[str | float] = [job_id, task_id, self._clock(), JOB_LIFETIME_S]
        async with translated():
            return Receipt(await self._accept(keys, args))

    async def receive(self, job_id: str, chat_id: int, task_id: str, result: Result) -> Receipt:
        """Store a result and move on to `delivering`. Job, chat and task must belong together."""
        keys = [JOB.format(job_id), TASK.format(task_id), OPEN]
        success = "1" if result.is_success else "0"
        stored = encode("result", result)
        args: list[str | float] = [
            *(job_id, str(chat_id), task_id, self._clock(), JOB_LIFETIME_S, stored, success)
        ]
        async with translated():
            return Receipt(await self._receive(keys, args))

    async def migrate(self, job: Job, new_chat_id: int) -> None:
        """The job's group became a supergroup; its callback link still carries the old chat id."""
        changes = {"chat_id": str(new_chat_id), "token_chat_id": str(job.chat_id)}
        await self._write_fields(job.id, changes)

    async def tick(self, job_id: str, sent: dict[str, Sent]) -> None:
        """Note that these stems (key → message) are in the chat."""
        mapping = {key: json.dumps(asdict(value)) for key, value in sent.items()}
        async with translated(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(SENT.format(job_id), mapping=cast(Any, mapping))
            pipeline.expire(SENT.format(job_id), JOB_LIFETIME_S)
            await pipeline.execute()

    async def sent(self, job_id: str) -> dict[str, Sent]:
        """What is in the chat already: stem key → message."""
        async with translated():
            stored = await self._redis.hgetall(SENT.format(job_id))
        return {str(key): Sent(**json.loads(value)) for key, value in stored.items()}

    async def count_run(self, job_id: str, kind: Run, by: int = 1) -> int:
        """Count one more (or, `by` -1, one less) run of this kind for the job; returns how many by now."""
        async with translated(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hincrby(JOB.format(job_id), _RUNS.format(kind), by)
            pipeline.expire(JOB.format(job_id), JOB_LIFETIME_S)  # of a job that has just expired, too
            return int((await pipeline.execute())[0])

    async def open_jobs(self) -> list[Job]:
        """All jobs that are not closed, longest unmoved first. Forgets ids whose job has expired."""
        async with translated():
            ids = cast(list[str], await self._redis.zrange(OPEN, 0, -1))
        return await self._get_all(OPEN, ids)

    async def jobs_of(self, user_id: int, limit: int = 200) -> list[Job]:
        """One user's jobs, newest first, at most `limit`."""
        key = OF_USER.format(user_id)
        async with translated():
            ids = cast(list[str], await self._redis.zrange(key, 0, limit - 1, desc=True))
        return await self._get_all(key, ids)

    async def _write_fields(self, job_id: str, fields: dict[str, str]) -> None:
        flat: list[str | float] = [text for pair in fields.items() for text in pair]
        async with translated():
            await self._write([JOB.format(job_id)], flat)

    async def _get_all(self, index: str, ids: list[str]) -> list[Job]:
        """These jobs; an id whose job has expired is taken out of `index`."""
        async with translated(), self._redis.pipeline(transaction=False) as pipeline:
            for job_id in ids:
                pipeline.hgetall(JOB.format(job_id))
            found = cast(list[dict[str, str]], await pipeline.execute())
            expired = [job_id for job_id, stored in zip(ids, found, strict=True) if not stored.get("state")]
            if expired:
                await self._redis.zrem(index, *expired)
        return [job for stored in found if stored.get("state") and (job := _read(stored))]


def _read(stored: dict[str, str]) -> Job | None:
    """A job that a newer version has written may be unreadable here; the others are not to suffer from it."""
    try:
        return Job.from_fields(stored)
    except (KeyError, TypeError, ValueError) as error:
        log.error("job %s cannot be read: %s: %s", stored.get("id"), type(error).__name__, error)
        return None


async def insist(step: Callable[[], Awaitable[T]], what: str, tries: int = 30) -> T:
    """Take a step that must not be lost, waiting for a Redis that is away: `tries` times, 2 s apart.

    `what` names it in the log. Raises `StoreUnavailable` in the end.
    """
    for _ in range(tries):
        try:
            return await step()
        except StoreUnavailable as error:
            log.warning("%s; waiting: %s", what, error)
            await asyncio.sleep(2)
    return await step()


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Redis]:
    """A Redis client for the store: bounded pool, 5 s per command, one more try after a broken connection.

    Scripts may so run twice; each is written so that the second run changes nothing and says 'repeated'.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        decode_responses=True,
        max_connections=64,
        timeout=5,
        socket_timeout=5,
        socket_connect_timeout=3,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 2),
        retry_on_error=[RedisConnectionError],
    )
    client = Redis(connection_pool=pool)
    try:
        yield client
    finally:
        await client.aclose()
        await pool.aclose()


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn redis-py's exceptions into `StoreUnavailable`."""
    try:
        yield
    except AuthenticationError as error:  # to redis-py a kind of broken connection
        raise StoreRefused(f"Redis refused: {str(error)[:120]}") from error
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise StoreUnavailable("Redis does not answer") from error
    except RedisError as error:
        raise StoreRefused(f"Redis refused: {str(error)[:120]}") from error
