"""Parts of stemdrop over the test's own Redis."""

from collections.abc import AsyncIterator

import pytest
from builders import Clock
from redis.asyncio import Redis

from stemdrop.store import JobStore, connect


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """As the product connects; emptied."""
    async with connect(redis_url) as client:
        yield client


@pytest.fixture
def store(redis: Redis, clock: Clock) -> JobStore:
    return JobStore(redis, clock)
