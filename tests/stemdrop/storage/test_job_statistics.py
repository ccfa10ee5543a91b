"""How long a mode takes, and which instruments are picked."""

import pytest
from redis.asyncio import Redis

from stemdrop.domain.jobs import INSTRUMENTS, Mode
from stemdrop.storage.job_statistics import ENOUGH, REMEMBERED, Estimate, JobStatistics
from stemdrop.storage.keys import PACE


@pytest.fixture
def job_statistics(redis: Redis) -> JobStatistics:
    return JobStatistics(redis)


async def test_too_few_jobs_give_no_estimate(job_statistics: JobStatistics) -> None:
    for _ in range(ENOUGH - 1):
        await job_statistics.note_duration(Mode.SPLIT_STEM, 60)
        assert await job_statistics.estimate(Mode.SPLIT_STEM) is None
    await job_statistics.note_duration(Mode.SPLIT_STEM, 60)
    assert await job_statistics.estimate(Mode.SPLIT_STEM) == Estimate(60, 60)
    assert await job_statistics.estimate(Mode.SEPARATE_VOCAL) is None


async def test_outliers_do_not_change_the_estimate(job_statistics: JobStatistics) -> None:
    for seconds in (1, 50, 52, 54, 56, 58, 60, 62, 64, 66, 9000):
        await job_statistics.note_duration(Mode.SEPARATE_VOCAL, seconds)
    assert await job_statistics.estimate(Mode.SEPARATE_VOCAL) == Estimate(50, 66)


async def test_old_durations_are_deleted(job_statistics: JobStatistics, redis: Redis) -> None:
    for seconds in [9000] * REMEMBERED + [60] * REMEMBERED:
        await job_statistics.note_duration(Mode.SPLIT_STEM, seconds)
    assert await job_statistics.estimate(Mode.SPLIT_STEM) == Estimate(60, 60)
    assert await redis.llen(PACE.format(Mode.SPLIT_STEM)) == REMEMBERED


async def test_a_duration_is_never_negative(job_statistics: JobStatistics) -> None:
    for _ in range(ENOUGH):
        await job_statistics.note_duration(Mode.SPLIT_STEM, -5)
    assert await job_statistics.estimate(Mode.SPLIT_STEM) == Estimate(0, 0)


async def test_the_most_used_instrument_comes_first(job_statistics: JobStatistics) -> None:
    assert await job_statistics.instruments() == INSTRUMENTS
    for name in ("Snare", "Bass", "Snare", "no offered instrument"):
        await job_statistics.note_instrument(name)
    rest = tuple(name for name in INSTRUMENTS if name not in ("Snare", "Bass"))
    assert await job_statistics.instruments() == ("Snare", "Bass", *rest)
