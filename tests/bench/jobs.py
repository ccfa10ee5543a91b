"""Jobs by the thousand, in the state that is measured: one is made by the store's own steps, and copied."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeVar, cast

from builders import make_job
from redis.asyncio import Redis

from stemdrop.domain.jobs import Job, Mode
from stemdrop.domain.queues import Queue
from stemdrop.storage.connection import connect
from stemdrop.storage.job_store import JobStore

T = TypeVar("T")

_AT_ONCE = 32
_users = count(20_000_001)  # of all jobs that this process has stored
_BATCH = 500


async def each(items: Iterable[T], do: Callable[[T], Awaitable[object]]) -> None:
    """For all of them, some at once."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(item: T) -> None:
        async with slots:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(one(item))


@dataclass(frozen=True, slots=True)
class StoredJob:
    """What a callback needs of a job. All are of different people, each in the private chat of that id."""

    id: str
    chat_id: int

    @property
    def task_id(self) -> str:
        """As long as the provider's are."""
        return self.id * 2


async def store_jobs(
    redis_url: str, number: int, mode: Mode = Mode.SEPARATE_VOCAL, *, age_s: float = 0.0
) -> list[StoredJob]:
    """Store so many jobs whose create call was accepted, each of a person of its own.

    All steps were made `age_s` ago.
    """
    song = secrets.token_hex(8)
    async with connect(redis_url) as redis:
        first = await _store_one(JobStore(redis, lambda: time.time() - age_s), song, mode)
        pattern = await _keys_of(redis, first.id)
        jobs = [StoredJob(first.id, first.chat_id)]
        while len(jobs) < number:
            async with redis.pipeline(transaction=False) as pipeline:
                for _ in range(min(_BATCH, number - len(jobs))):
                    copy = StoredJob(secrets.token_hex(8), next(_users))
                    names = {
                        first.id: copy.id,
                        song: secrets.token_hex(8),
                        str(first.chat_id): str(copy.chat_id),
                    }
                    for key, (kind, value, ttl_ms) in pattern.items():
                        _copy(pipeline, _renamed(key, names), kind, _renamed(value, names), ttl_ms)
                    jobs.append(copy)
                await pipeline.execute()
    return jobs


async def _store_one(store: JobStore, song: str, mode: Mode) -> Job:
    user = next(_users)
    job = make_job(chat_id=user, user_id=user, account=user, message_id=8)
    job = replace(job, source=replace(job.source, file_unique_id=song))
    await store.add(job, job.id)
    await store.pick(job, mode, "", 0)
    await store.begin_create(job.id)
    await store.accept(job.id, StoredJob(job.id, user).task_id)
    return job


async def _keys_of(redis: Redis, job_id: str) -> dict[str, tuple[str, Any, int]]:
    """What is stored of the job: key → type, value (of keys of several jobs: its part), milliseconds left."""
    found = dict[str, tuple[str, Any, int]]()
    async for name in redis.scan_iter(count=1000):
        key = str(name)
        if key.startswith(tuple(Queue)):  # the engine's
            continue
        kind = await redis.type(key)
        value = await _value(redis, key, str(kind))
        if job_id not in key and isinstance(value, dict):
            value = {name: content for name, content in value.items() if job_id in f"{name} {content}"}
        if job_id in f"{key} {value}":
            found[key] = (str(kind), value, int(await redis.pttl(key)))
    return found


async def _value(redis: Redis, key: str, kind: str) -> Any:
    """A string, or a dict of a hash and of a sorted set; jobs are stored in no other types."""
    if kind == "string":
        return await redis.get(key)
    if kind == "hash":
        return await redis.hgetall(key)
    if kind == "zset":
        return dict(cast(list[tuple[str, float]], await redis.zrange(key, 0, -1, withscores=True)))
    return None


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {_renamed(key, names): _renamed(content, names) for key, content in value.items()}
    if isinstance(value, str):
        for old, new in names.items():
            value = value.replace(old, new)
    return value


def _copy(pipeline: Any, key: str, kind: str, value: Any, ttl_ms: int) -> None:
    if kind == "hash":
        pipeline.hset(key, mapping=value)
    elif kind == "string":
        pipeline.set(key, value)
    else:
        pipeline.zadd(key, value)
    if ttl_ms > 0:
        pipeline.pexpire(key, ttl_ms)
