"""Misconfigurations of Redis."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from doctor_fixture import DoctorFixture
from misconfiguration import misconfiguration

from stemdrop.doctor.redis_server import SLOW_MS
from stemdrop.doctor.report import CheckResult


@misconfiguration(
    "no Redis at `REDIS_URL`",
    "Redis: reachable",
    "no answer from 127.0.0.1:9",
    "start Redis, or correct REDIS_URL",
)
async def no_redis(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["REDIS_URL"] = "redis://127.0.0.1:9/0"
    yield


@misconfiguration(
    "a wrong password in `REDIS_URL`",
    "Redis: reachable",
    "Redis refused: ",
    "correct user, password and database number in REDIS_URL",
)
async def wrong_password(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["REDIS_URL"] = re.sub(
        r":[^:@/]+@", ":not-this-one@", doctor_fixture.environ["REDIS_URL"]
    )
    yield


@misconfiguration(
    "Redis without an append-only file",
    "Redis: persistence",
    "paid jobs are lost",
    "switch it on: `CONFIG SET appendonly yes`",
)
async def no_aof(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with configured(doctor_fixture, appendonly="no"):
        yield


@misconfiguration(
    "Redis that evicts (`allkeys-lru`), with a limit",
    "Redis: eviction policy",
    "allkeys-lru: jobs are deleted",
    "set it: `maxmemory-policy noeviction`",
)
async def evicting(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with configured(doctor_fixture, **{"maxmemory-policy": "allkeys-lru", "maxmemory": "1gb"}):
        yield


@misconfiguration(
    "Redis that would evict, without a limit",
    "Redis: eviction policy",
    "would be deleted",
    "set it: `maxmemory-policy noeviction`",
    result=CheckResult.WARNING,
)
async def would_evict(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with configured(doctor_fixture, **{"maxmemory-policy": "allkeys-lru"}):
        yield


@misconfiguration(
    "Redis' memory is full", "Redis: memory", "nothing more is stored", "give Redis more memory"
)
async def full_memory(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with configured(doctor_fixture, maxmemory="1"):
        yield


@misconfiguration(
    "Redis' memory is nearly full",
    "Redis: memory",
    "nearly full",
    "give Redis more memory",
    result=CheckResult.WARNING,
)
async def nearly_full_memory(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    used = int((await doctor_fixture.product.redis.info("memory"))["used_memory"])
    async with configured(doctor_fixture, maxmemory=str(round(used * 1.1))):
        yield


@misconfiguration(
    "a replica of Redis", "Redis: writing", "this is a replica", "point REDIS_URL to the primary"
)
async def replica(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.product.redis.replicaof("127.0.0.1", "9")
    try:
        yield
    finally:
        await doctor_fixture.product.redis.replicaof("NO", "ONE")


@misconfiguration("Redis 5", "Redis: version", "Redis 5.0.7", "update Redis")
async def old_redis(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with redis_with_info(
        doctor_fixture, rb"redis_version:[\d.]+", b"redis_version:5.0.7", b"server_name:", b"server_gone:"
    ):
        yield


@misconfiguration("Redis' disk is full", "Redis: disk", "aof_last_write_status", "free space on Redis' disk")
async def redis_disk(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with redis_with_info(doctor_fixture, rb"aof_last_write_status:ok", b"aof_last_write_status:err"):
        yield


@asynccontextmanager
async def configured(doctor_fixture: DoctorFixture, **values: str) -> AsyncIterator[None]:
    """Change Redis' configuration, and restore it afterwards."""
    redis = doctor_fixture.product.redis
    before = {name: str((await redis.config_get(name))[name]) for name in values}
    for name, value in values.items():
        await redis.config_set(name, value)
    try:
        yield
    finally:
        for name, value in reversed(before.items()):
            await redis.config_set(name, value)


@asynccontextmanager
async def redis_with_info(doctor_fixture: DoctorFixture, *words: bytes) -> AsyncIterator[None]:
    """Change the response to INFO; `words` are pairs of a pattern and its replacement."""

    def change(said: bytes) -> bytes:
        if not (found := re.match(rb"=\d+\r\n(txt:# Server.*)\r\n$", said, re.S)):  # RESP3
            return said
        info = found[1]
        for old, new in zip(words[::2], words[1::2], strict=True):
            info = re.sub(old, new, info)
        return b"=%d\r\n%s\r\n" % (len(info), info)

    url = doctor_fixture.environ["REDIS_URL"]
    async with doctor_fixture.wire(url, change=change) as port:
        doctor_fixture.environ["REDIS_URL"] = re.sub(r":\d+/", f":{port}/", url)
        yield


@misconfiguration(
    "a slow connection to Redis",
    "Redis: latency",
    " ms per command",
    "run Redis close to the bot",
    result=CheckResult.WARNING,
)
async def far_redis(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    def late(said: bytes) -> bytes:
        if b"PONG" in said:
            time.sleep(0.06)
        return said

    url = doctor_fixture.environ["REDIS_URL"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stemdrop.doctor.redis_server.SLOW_MS", SLOW_MS)  # the fixture tolerates more
        async with doctor_fixture.wire(url, change=late) as port:
            doctor_fixture.environ["REDIS_URL"] = re.sub(r":\d+/", f":{port}/", url)
            yield


@misconfiguration(
    "a Redis user without permission to write",
    "Redis: writing",
    "no permissions to run the 'set' command",
    "allow this user all commands",
)
async def reader_of_redis(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    redis = doctor_fixture.product.redis
    await redis.acl_setuser(
        "reader", enabled=True, passwords=["+word"], categories=["+@all", "-@write"], keys="*"
    )
    doctor_fixture.environ["REDIS_URL"] = re.sub(
        r"//:[^@]+@", "//reader:word@", doctor_fixture.environ["REDIS_URL"]
    )
    try:
        yield
    finally:
        await redis.acl_deluser("reader")
