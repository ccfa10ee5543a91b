"""Wrong with Redis."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from ailment import ailment
from clinic import Clinic

from stemdrop.doctor.redis_server import SLOW_MS
from stemdrop.doctor.report import Result


@ailment(
    "no Redis at `REDIS_URL`",
    "Redis: reachable",
    "nobody answers at 127.0.0.1:9",
    "start Redis, or correct REDIS_URL",
)
async def no_redis(clinic: Clinic) -> AsyncIterator[None]:
    clinic.environ["REDIS_URL"] = "redis://127.0.0.1:9/0"
    yield


@ailment(
    "a wrong password in `REDIS_URL`",
    "Redis: reachable",
    "Redis refused: ",
    "correct user, password and database number in REDIS_URL",
)
async def wrong_password(clinic: Clinic) -> AsyncIterator[None]:
    clinic.environ["REDIS_URL"] = re.sub(r":[^:@/]+@", ":not-this-one@", clinic.environ["REDIS_URL"])
    yield


@ailment(
    "Redis without an append-only file",
    "Redis: persistence",
    "paid jobs are lost",
    "switch it on: `appendonly yes`",
)
async def no_aof(clinic: Clinic) -> AsyncIterator[None]:
    async with configured(clinic, appendonly="no"):
        yield


@ailment(
    "Redis that evicts (`allkeys-lru`), with a limit",
    "Redis: eviction policy",
    "allkeys-lru: jobs vanish",
    "set it: `maxmemory-policy noeviction`",
)
async def evicting(clinic: Clinic) -> AsyncIterator[None]:
    async with configured(clinic, **{"maxmemory-policy": "allkeys-lru", "maxmemory": "1gb"}):
        yield


@ailment(
    "Redis that would evict, without a limit",
    "Redis: eviction policy",
    "would vanish",
    "set it: `maxmemory-policy noeviction`",
    result=Result.WARNING,
)
async def would_evict(clinic: Clinic) -> AsyncIterator[None]:
    async with configured(clinic, **{"maxmemory-policy": "allkeys-lru"}):
        yield


@ailment("Redis' memory is full", "Redis: memory", "nothing more is stored", "give Redis more memory")
async def full_memory(clinic: Clinic) -> AsyncIterator[None]:
    async with configured(clinic, maxmemory="1"):
        yield


@ailment(
    "Redis' memory is nearly full",
    "Redis: memory",
    "nearly full",
    "give Redis more memory",
    result=Result.WARNING,
)
async def nearly_full_memory(clinic: Clinic) -> AsyncIterator[None]:
    used = int((await clinic.house.redis.info("memory"))["used_memory"])
    async with configured(clinic, maxmemory=str(round(used * 1.1))):
        yield


@ailment("a replica of Redis", "Redis: writing", "this is a replica", "let REDIS_URL name the primary")
async def replica(clinic: Clinic) -> AsyncIterator[None]:
    await clinic.house.redis.replicaof("127.0.0.1", "9")
    try:
        yield
    finally:
        await clinic.house.redis.replicaof("NO", "ONE")


@ailment("Redis 5", "Redis: version", "Redis 5.0.7", "update Redis")
async def old_redis(clinic: Clinic) -> AsyncIterator[None]:
    async with redis_that_says(
        clinic, rb"redis_version:[\d.]+", b"redis_version:5.0.7", b"server_name:", b"server_gone:"
    ):
        yield


@ailment("Redis' disk is full", "Redis: disk", "aof_last_write_status", "make room on Redis' disk")
async def redis_disk(clinic: Clinic) -> AsyncIterator[None]:
    async with redis_that_says(clinic, rb"aof_last_write_status:ok", b"aof_last_write_status:err"):
        yield


@asynccontextmanager
async def configured(clinic: Clinic, **values: str) -> AsyncIterator[None]:
    """Redis with these of its settings, and afterwards with those it had."""
    redis = clinic.house.redis
    before = {name: (await redis.config_get(name))[name] for name in values}
    for name, value in values.items():
        await redis.config_set(name, value)
    try:
        yield
    finally:
        for name, value in reversed(before.items()):
            await redis.config_set(name, value)


@asynccontextmanager
async def redis_that_says(clinic: Clinic, *words: bytes) -> AsyncIterator[None]:
    """Redis whose INFO has other words: pairs of what it says and what is heard."""

    def change(said: bytes) -> bytes:
        if not (found := re.match(rb"=\d+\r\n(txt:# Server.*)\r\n$", said, re.S)):  # RESP3
            return said
        info = found[1]
        for old, new in zip(words[::2], words[1::2], strict=True):
            info = re.sub(old, new, info)
        return b"=%d\r\n%s\r\n" % (len(info), info)

    url = clinic.environ["REDIS_URL"]
    async with clinic.wire(url, change=change) as port:
        clinic.environ["REDIS_URL"] = re.sub(r":\d+/", f":{port}/", url)
        yield


@ailment(
    "a Redis far away",
    "Redis: latency",
    " ms a command",
    "let Redis run near the bot",
    result=Result.WARNING,
)
async def far_redis(clinic: Clinic) -> AsyncIterator[None]:
    def late(said: bytes) -> bytes:
        time.sleep(0.06)
        return said

    url = clinic.environ["REDIS_URL"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stemdrop.doctor.redis_server.SLOW_MS", SLOW_MS)  # a clinic is more patient
        async with clinic.wire(url, change=late) as port:
            clinic.environ["REDIS_URL"] = re.sub(r":\d+/", f":{port}/", url)
            yield


@ailment(
    "a user of Redis that may only read",
    "Redis: writing",
    "no permissions to run the 'set' command",
    "allow this user all commands",
)
async def reader_of_redis(clinic: Clinic) -> AsyncIterator[None]:
    redis = clinic.house.redis
    await redis.acl_setuser(
        "reader", enabled=True, passwords=["+word"], categories=["+@all", "-@write"], keys="*"
    )
    clinic.environ["REDIS_URL"] = re.sub(r"//:[^@]+@", "//reader:word@", clinic.environ["REDIS_URL"])
    try:
        yield
    finally:
        await redis.acl_deluser("reader")
