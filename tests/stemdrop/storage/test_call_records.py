"""The records of create calls, against a real Redis."""

from dataclasses import replace

import pytest
from builders import Clock, make_call, make_job
from redis.asyncio import Redis

from stemdrop.domain.jobs import JobState
from stemdrop.storage import create_calls
from stemdrop.storage.connection import connect
from stemdrop.storage.create_calls import CallOutcome, CreateCalls
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.keys import CALL


async def asked(redis: Redis, clock: Clock, name: str) -> str:
    """Make a create call for a job of its own."""
    store, job = JobStore(redis, clock), make_job(state=JobState.SUBMITTING)
    await store.add(job, once=job.id)
    call = make_call(job.id, id=name, asked_at=clock())
    assert await store.begin_create(job.id, call) == name
    assert await store.accept(job.id, f"task-of-{name}", name)
    return job.id


async def test_calls_are_read_in_portions_each_once(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create_calls, "_PORTION", 2)
    clock = Clock()
    async with connect(redis_url) as redis:
        for name in ("a", "b", "c", "d", "e", "f", "g"):
            await asked(redis, clock, name)
            clock.advance(name in "ae")
        calls = CreateCalls(redis)
        assert [it.id async for it in calls.since(0)] == list("abcdefg")
        assert [it.id async for it in calls.since(clock.now)] == ["f", "g"]


async def test_a_record_is_small_and_loses_its_link_to_the_song(redis_url: str) -> None:
    async with connect(redis_url) as redis:
        job_id = await asked(redis, Clock(), "a")
        (call,) = await CreateCalls(redis).of_job(job_id)
        assert (call.outcome, call.source) == (CallOutcome.ACCEPTED, "")
        assert await redis.object("ENCODING", CALL.format("a")) in ("ziplist", "listpack")
        assert [key async for key in redis.scan_iter("*:source")] == []


async def test_a_call_that_may_be_sent_again_keeps_its_link_until_its_job_is_deleted(redis_url: str) -> None:
    async with connect(redis_url) as redis:
        store, job = JobStore(redis), make_job(state=JobState.SUBMITTING)
        await store.add(job, once=job.id)
        call = make_call(job.id)
        assert await store.begin_create(job.id, call)
        assert await store.lose_answer(job.id, call.id)
        found = await CreateCalls(redis).get(call.id)
        assert found
        assert (found.outcome, found.source) == (CallOutcome.LOST, call.source)
        assert await store.forget(job.id)
        assert (await CreateCalls(redis).get(call.id)) == replace(found, source="")
