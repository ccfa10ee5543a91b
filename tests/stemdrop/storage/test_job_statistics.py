"""What the server learned: how long a mode takes, which instruments are asked for."""

import pytest
from redis.asyncio import Redis

from stemdrop.domain.jobs import INSTRUMENTS, Mode
from stemdrop.storage.job_statistics import ENOUGH, REMEMBERED, Estimate, Experience
from stemdrop.storage.keys import PACE


@pytest.fixture
def experience(redis: Redis) -> Experience:
    return Experience(redis)


async def test_too_few_jobs_are_no_experience(experience: Experience) -> None:
    for _ in range(ENOUGH - 1):
        await experience.note_duration(Mode.SPLIT_STEM, 60)
        assert await experience.estimate(Mode.SPLIT_STEM) is None
    await experience.note_duration(Mode.SPLIT_STEM, 60)
    assert await experience.estimate(Mode.SPLIT_STEM) == Estimate(60, 60)
    assert await experience.estimate(Mode.SEPARATE_VOCAL) is None


async def test_the_odd_one_in_ten_counts_for_nothing(experience: Experience) -> None:
    for seconds in (1, 50, 52, 54, 56, 58, 60, 62, 64, 66, 9000):
        await experience.note_duration(Mode.SEPARATE_VOCAL, seconds)
    assert await experience.estimate(Mode.SEPARATE_VOCAL) == Estimate(50, 66)


async def test_what_was_long_ago_is_forgotten(experience: Experience, redis: Redis) -> None:
    for seconds in [9000] * REMEMBERED + [60] * REMEMBERED:
        await experience.note_duration(Mode.SPLIT_STEM, seconds)
    assert await experience.estimate(Mode.SPLIT_STEM) == Estimate(60, 60)
    assert await redis.llen(PACE.format(Mode.SPLIT_STEM)) == REMEMBERED


async def test_a_clock_that_went_back_makes_no_time_negative(experience: Experience) -> None:
    for _ in range(ENOUGH):
        await experience.note_duration(Mode.SPLIT_STEM, -5)
    assert await experience.estimate(Mode.SPLIT_STEM) == Estimate(0, 0)


async def test_the_most_used_instrument_comes_first(experience: Experience) -> None:
    assert await experience.instruments() == INSTRUMENTS
    for name in ("Snare", "Bass", "Snare", "nobody offers this"):
        await experience.note_instrument(name)
    rest = tuple(name for name in INSTRUMENTS if name not in ("Snare", "Bass"))
    assert await experience.instruments() == ("Snare", "Bass", *rest)
