"""The limits on fetching a job's source hold over all processes."""

import asyncio
import math

import pytest
from builders import Clock, make_job
from redis.asyncio import Redis

from stemdrop.domain.jobs import Job
from stemdrop.errors import ExpiredLink, TooOften
from stemdrop.storage.connection import connect
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.source_quota import BURST, MOST_FETCHES, MOST_SOURCE_SIZES, PER_S, SourceQuota

SIZE = 20 * 1024 * 1024


@pytest.fixture
def source_quota(redis: Redis, clock: Clock) -> SourceQuota:
    return SourceQuota(redis, clock)


@pytest.fixture
async def job(store: JobStore) -> Job:
    made = make_job()
    await store.add(made, once=made.id)
    return made


async def used_up(
    store: JobStore, source_quota: SourceQuota, job: Job, clock: Clock, wanted: int, size: int = SIZE
) -> int:
    """Fetch slowly until no fetch is allowed; returns the number of fetches."""
    for count in range(2 * MOST_FETCHES):
        try:
            await source_quota.count(job.id, wanted, size)
        except ExpiredLink:
            return count
        clock.advance(1 / PER_S)
    raise AssertionError("there is no end of it")


@pytest.mark.parametrize("wanted", [0, 1, 256 * 1024])
async def test_the_number_of_fetches_is_limited(
    store: JobStore, source_quota: SourceQuota, job: Job, clock: Clock, wanted: int
) -> None:
    assert await used_up(store, source_quota, job, clock, wanted) == MOST_FETCHES
    clock.advance(86_400)
    with pytest.raises(ExpiredLink):
        await source_quota.count(job.id, wanted, SIZE)


async def test_the_bytes_of_all_fetches_are_limited(
    store: JobStore, source_quota: SourceQuota, job: Job, clock: Clock
) -> None:
    assert await used_up(store, source_quota, job, clock, SIZE) == MOST_SOURCE_SIZES
    with pytest.raises(ExpiredLink):
        await source_quota.count(job.id, 1, SIZE)
    await source_quota.count(job.id, 0, SIZE)


async def test_a_source_of_unknown_size_is_limited_by_number(
    store: JobStore, source_quota: SourceQuota, job: Job, clock: Clock
) -> None:
    assert await used_up(store, source_quota, job, clock, 0, 0) == MOST_FETCHES


async def test_three_fetches_in_small_parts_need_not_wait(
    store: JobStore, source_quota: SourceQuota, job: Job, clock: Clock
) -> None:
    part = 256 * 1024
    for _ in range(3):
        for _ in range(SIZE // part):
            await source_quota.count(job.id, part, SIZE)
        clock.advance(120)  # it takes the file for broken, and tries again


async def test_the_rate_of_fetches_is_limited(
    store: JobStore, source_quota: SourceQuota, job: Job, clock: Clock
) -> None:
    for _ in range(BURST):
        await source_quota.count(job.id, 1, SIZE)
    for _ in range(3):
        with pytest.raises(TooOften) as refused:
            await source_quota.count(job.id, 1, SIZE)
        assert math.isclose(refused.value.after_s, 1 / PER_S, abs_tol=0.01)
    clock.advance(refused.value.after_s)
    await source_quota.count(job.id, 1, SIZE)
    with pytest.raises(TooOften):
        await source_quota.count(job.id, 1, SIZE)
    clock.advance(10 * BURST / PER_S)
    for _ in range(BURST):
        await source_quota.count(job.id, 1, SIZE)
    with pytest.raises(TooOften):
        await source_quota.count(job.id, 1, SIZE)


async def test_a_refused_fetch_is_not_counted(
    store: JobStore, source_quota: SourceQuota, job: Job, clock: Clock
) -> None:
    for _ in range(BURST):
        await source_quota.count(job.id, 1, SIZE)
    for _ in range(MOST_FETCHES):
        with pytest.raises(TooOften):
            await source_quota.count(job.id, 1, SIZE)
    clock.advance(1 / PER_S)
    assert await used_up(store, source_quota, job, clock, 1) == MOST_FETCHES - BURST


async def test_a_clock_that_is_set_back_does_not_block_the_source(
    source_quota: SourceQuota, job: Job, clock: Clock
) -> None:
    for _ in range(BURST):
        await source_quota.count(job.id, 1, SIZE)
    clock.advance(-3600)
    with pytest.raises(TooOften):
        await source_quota.count(job.id, 1, SIZE)
    clock.advance(1 / PER_S)
    await source_quota.count(job.id, 1, SIZE)


async def test_the_clocks_of_two_machines_do_not_matter(redis: Redis, job: Job) -> None:
    """The clock is that of Redis."""
    quotas = [SourceQuota(redis), SourceQuota(redis)]
    counts = [quotas[n % 2].count(job.id, 1, SIZE) for n in range(2 * BURST)]
    outcomes = await asyncio.gather(*counts, return_exceptions=True)
    assert BURST <= outcomes.count(None) < 2 * BURST


async def test_processes_that_count_at_once_count_together(
    store: JobStore, source_quota: SourceQuota, job: Job, clock: Clock, redis_url: str
) -> None:
    async with connect(redis_url) as second:
        quotas = [source_quota, SourceQuota(second, clock)]
        counters = [quotas[n % 2].count(job.id, 1, SIZE) for n in range(BURST + 50)]
        outcomes = await asyncio.gather(*counters, return_exceptions=True)
    assert outcomes.count(None) == BURST
    assert {type(outcome) for outcome in outcomes if outcome} == {TooOften}


async def test_each_job_has_its_own_quota_which_ends_with_the_job(
    store: JobStore, source_quota: SourceQuota, job: Job, clock: Clock, redis: Redis
) -> None:
    other = make_job()
    await store.add(other, once=other.id)
    for _ in range(BURST):
        await source_quota.count(job.id, 1, SIZE)
    await source_quota.count(other.id, 1, SIZE)
    await store.forget(job.id)
    with pytest.raises(ExpiredLink):
        await source_quota.count(job.id, 1, SIZE)
    assert await redis.keys(f"*{job.id}*") == []


async def test_counting_does_not_change_the_job(store: JobStore, source_quota: SourceQuota, job: Job) -> None:
    before = await store.get(job.id)
    await source_quota.count(job.id, 1, SIZE)
    assert await store.get(job.id) == before
