"""`Experience`: what this server learned from its own jobs: how long they take, what is asked for."""

from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from stemdrop.domain.jobs import INSTRUMENTS, Mode
from stemdrop.storage.connection import translated
from stemdrop.storage.keys import PACE, USED

# Of so many jobs the times are remembered; fewer than so many are no experience yet.
REMEMBERED, ENOUGH = 30, 3


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of ten jobs, eight took longer than `low_s` and less than `high_s`; in seconds."""

    low_s: float
    high_s: float


class JobStatistics:
    """Every method raises `StoreUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def note_duration(self, mode: Mode, seconds: float) -> None:
        """A job of this mode took so long, from its turn to its result."""
        async with translated(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.lpush(PACE.format(mode), f"{max(0.0, seconds):.1f}")
            pipeline.ltrim(PACE.format(mode), 0, REMEMBERED - 1)
            await pipeline.execute()

    async def estimate(self, mode: Mode) -> Estimate | None:
        """How long a job of this mode may take; `None` while too few have been."""
        async with translated():
            stored = await self._redis.lrange(PACE.format(mode), 0, -1)
        times = sorted(float(seconds) for seconds in stored)
        if len(times) < ENOUGH:
            return None
        last = len(times) - 1
        return Estimate(times[round(last * 0.1)], times[round(last * 0.9)])

    async def note_instrument(self, name: str) -> None:
        """Somebody asked for this instrument."""
        async with translated():
            await self._redis.zincrby(USED, 1, name)

    async def instruments(self) -> tuple[str, ...]:
        """All that are offered, the most used first."""
        async with translated():
            used = dict(cast(Any, await self._redis.zrange(USED, 0, -1, withscores=True)))
        return tuple(sorted(INSTRUMENTS, key=lambda name: -float(used.get(name, 0))))
