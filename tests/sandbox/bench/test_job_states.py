"""The bench follows the jobs in Redis: each state, with the messages and tasks that belong to the job."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from builders import make_job, make_result
from waits import WAIT_S

from sandbox.bench.bench import Bench
from sandbox.telegram.app import run_telegram
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import Failure, JobState, Mode
from stemdrop.domain.outcomes import Sent
from stemdrop.storage.connection import connect
from stemdrop.storage.job_store import JobStore


@pytest.fixture
def bench(tg: Telegram) -> Bench:
    return Bench(tg)


@pytest.fixture
async def url(tg: Telegram, bench: Bench) -> AsyncIterator[str]:
    async with run_telegram(tg, with_chat_api=True, bench=bench) as base:
        yield base


def states(tg: Telegram) -> list[str]:
    return [record.name for record in tg.records.after(0)]


async def test_a_jobs_states_are_shown_as_they_move(
    tg: Telegram, bench: Bench, chat: httpx.AsyncClient, redis_url: str
) -> None:
    async with connect(redis_url) as redis, bench.run(redis_url):
        await asyncio.wait_for(bench.jobs.is_following.wait(), WAIT_S)
        store, job = JobStore(redis), make_job(source_message_id=7, message_id=0)

        async def shown(*expected: str) -> None:
            await tg.wait_for(lambda: states(tg) == list(expected), WAIT_S)

        await store.add(job, "once")
        await shown("choosing")
        await store.set(job.id, message_id=8)
        await store.pick(job, Mode.SPLIT_STEM, "", 0)
        await shown("choosing", "submitting")
        await store.begin_create(job.id)
        await store.accept(job.id, "task-1")
        await shown("choosing", "submitting", "separating")
        await store.receive(job.id, job.chat_id, "task-1", make_result("vocals"))
        await store.tick(job.id, {"vocals": Sent(9, "file", "unique")})
        await tg.wait_for(lambda: 9 in bench.jobs.after(0)[-1].message_ids, WAIT_S)
        await store.fail(job.id, [JobState.DELIVERING], Failure("no_music"))
        await shown("choosing", "submitting", "separating", "delivering", "failed")

        answer = (await chat.get("records", params={"timeout": 0})).json()
        [found] = answer["jobs"]
        assert found["states"] == states(tg)
        assert (found["id"], found["chat_id"], found["mode"]) == (job.id, job.chat_id, "split_stem")
        assert (found["message_ids"], found["task_ids"]) == ([7, 8, 9], ["task-1"])
        assert answer["last_number"] == found["number"]
        assert (await chat.get("records", params={"after": found["number"], "timeout": 0})).json()[
            "jobs"
        ] == []
        last = answer["records"][-1]
        assert (last["job_id"], last["task_id"], last["parameters"]["failure"]) == (
            job.id,
            "task-1",
            "no_music",
        )


async def test_jobs_that_are_open_at_the_start_are_shown_and_a_missing_redis_is_told(
    tg: Telegram, bench: Bench, chat: httpx.AsyncClient, redis_url: str
) -> None:
    async with connect(redis_url) as redis:
        await JobStore(redis).add(make_job(state=JobState.SEPARATING), "once")
    async with bench.run(redis_url):
        await tg.wait_for(lambda: states(tg) == ["separating"], WAIT_S)
    following = asyncio.create_task(bench.jobs.follow("redis://127.0.0.1:1/0"))
    await tg.wait_for(lambda: bench.jobs.problem, WAIT_S)
    assert (await chat.get("records", params={"timeout": 0})).json()["problem"] == "Redis does not answer"
    following.cancel()


async def test_programs_that_share_the_redis_keep_their_notifications(bench: Bench, redis_url: str) -> None:
    async with connect(redis_url) as redis:
        await redis.config_set("notify-keyspace-events", "Ex")
        try:
            async with bench.run(redis_url):
                await asyncio.wait_for(bench.jobs.is_following.wait(), WAIT_S)
                found = (await redis.config_get("notify-keyspace-events"))["notify-keyspace-events"]
                assert set(found or "") == set("ExKh")
        finally:
            await redis.config_set("notify-keyspace-events", "")


async def test_the_bench_ends_at_any_moment(tg: Telegram, redis_url: str) -> None:
    async with asyncio.timeout(WAIT_S):
        for turns in range(0, 60, 3):  # of the event loop
            async with Bench(tg).run(redis_url):
                for _ in range(turns):
                    await asyncio.sleep(0)
