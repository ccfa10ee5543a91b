"""The index of open jobs by the time of the next look."""

import pytest
from builders import Clock, make_job
from redis.asyncio import Redis

from stemdrop.domain.jobs import Failure, Job, JobState
from stemdrop.storage.due_jobs import CLOCK_SKEW_S, LONGEST_WAIT_S, DueJobs
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.keys import JOB, OPEN, PROGRESS_DUE, RECOVERY_DUE


@pytest.fixture
def due_jobs(redis: Redis, clock: Clock) -> DueJobs:
    return DueJobs(redis, RECOVERY_DUE, clock)


async def add(store: JobStore, state: JobState = JobState.SUBMITTING) -> Job:
    job = make_job(state=state)
    await store.add(job, once=job.id)
    return job


async def found(due_jobs: DueJobs, limit: int = 10) -> list[str]:
    return [due.job_id for due in await due_jobs.find(limit)]


async def test_a_job_is_due_when_it_moves_and_when_its_time_has_come(
    store: JobStore, due_jobs: DueJobs, clock: Clock
) -> None:
    job = await add(store)
    (due,) = await due_jobs.find(10)
    assert due.job == await store.get(job.id)
    await due_jobs.put_off([(due, clock.now + 60)])
    assert await found(due_jobs) == []
    clock.advance(60)
    assert await found(due_jobs) == [job.id]


async def test_a_job_that_moved_after_it_was_found_is_not_put_off(
    store: JobStore, due_jobs: DueJobs, clock: Clock
) -> None:
    job = await add(store)
    (due,) = await due_jobs.find(10)
    clock.advance(1)
    await store.move(job.id, [JobState.SUBMITTING], JobState.SEPARATING)
    await due_jobs.put_off([(due, clock.now + 60)])
    assert await found(due_jobs) == [job.id]


async def test_a_job_that_was_closed_after_it_was_found_stays_closed(
    store: JobStore, due_jobs: DueJobs, redis: Redis, clock: Clock
) -> None:
    job = await add(store)
    await store.fail(job.id, [JobState.SUBMITTING], Failure("500"))
    (due,) = await due_jobs.find(10)
    await store.close(job.id)
    await due_jobs.put_off([(due, clock.now)])
    assert not await redis.exists(RECOVERY_DUE, PROGRESS_DUE, OPEN)


async def test_at_most_so_many_are_found_the_longest_due_first(
    store: JobStore, due_jobs: DueJobs, clock: Clock
) -> None:
    jobs = []
    for _ in range(3):
        jobs.append((await add(store)).id)
        clock.advance(1)
    assert await found(due_jobs, limit=2) == jobs[:2]
    assert [due.job_id for due in await due_jobs.find(10, before=clock.now - 1.5)] == jobs[:2]


async def test_open_jobs_that_are_not_in_the_index_are_added(
    store: JobStore, due_jobs: DueJobs, redis: Redis, clock: Clock
) -> None:
    known, lost = await add(store), await add(store)
    await due_jobs.put_off([(due, clock.now + 60) for due in await due_jobs.find(10)])
    await redis.zrem(RECOVERY_DUE, lost.id)
    await due_jobs.add_missing()
    assert await found(due_jobs) == [lost.id]
    assert await redis.zscore(RECOVERY_DUE, known.id) == clock.now + 60


async def test_jobs_are_found_after_a_clock_was_set_back(
    store: JobStore, due_jobs: DueJobs, clock: Clock
) -> None:
    job = await add(store)
    clock.advance(-LONGEST_WAIT_S)
    assert await found(due_jobs) == []
    clock.advance(-CLOCK_SKEW_S - 1)
    assert await found(due_jobs) == [job.id]


async def test_expired_jobs_are_removed_from_the_index(
    store: JobStore, due_jobs: DueJobs, redis: Redis
) -> None:
    expired, here = await add(store), await add(store)
    await redis.delete(JOB.format(expired.id))
    assert await found(due_jobs) == [here.id]
    await due_jobs.add_missing()
    assert await redis.zrange(RECOVERY_DUE, 0, -1) == await redis.zrange(OPEN, 0, -1) == [here.id]


async def test_a_job_that_cannot_be_read_is_found_and_can_be_put_off(
    store: JobStore, due_jobs: DueJobs, redis: Redis, clock: Clock
) -> None:
    job = await add(store)
    await redis.hset(JOB.format(job.id), "source", "[]")
    (due,) = await due_jobs.find(10)
    assert (due.job_id, due.job) == (job.id, None)
    await due_jobs.put_off([(due, clock.now + 60)])
    assert await found(due_jobs) == []
