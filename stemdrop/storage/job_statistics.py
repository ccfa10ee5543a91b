"""`JobStatistics`: how long the jobs of this installation take, and which instruments are picked."""

from dataclasses import dataclass
from typing import Any, cast

from stemdrop.domain.jobs import INSTRUMENTS, Mode
from stemdrop.storage.connection import RedisStore
from stemdrop.storage.keys import PACE, USED

# How many durations are stored for each mode, and how many an estimate needs.
REMEMBERED, ENOUGH = 30, 3


@dataclass(frozen=True, slots=True)
class Estimate:
    """Eight of ten jobs took between `low_s` and `high_s` seconds."""

    low_s: float
    high_s: float


class JobStatistics(RedisStore):
    async def note_duration(self, mode: Mode, seconds: float) -> None:
        """Store how long a job of this mode took from its submission to its result."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.lpush(PACE.format(mode), f"{max(0.0, seconds):.1f}")
            pipeline.ltrim(PACE.format(mode), 0, REMEMBERED - 1)
            await pipeline.execute()

    async def estimate(self, mode: Mode) -> Estimate | None:
        """Return how long a job of this mode may take; `None` after too few jobs."""
        stored = await self._redis.lrange(PACE.format(mode), 0, -1)
        times = sorted(float(seconds) for seconds in stored)
        if len(times) < ENOUGH:
            return None
        last = len(times) - 1
        return Estimate(times[round(last * 0.1)], times[round(last * 0.9)])

    async def note_instrument(self, name: str) -> None:
        await self._redis.zincrby(USED, 1, name)

    async def instruments(self) -> tuple[str, ...]:
        """Return all instruments that are offered, the most used first."""
        used = dict(cast(Any, await self._redis.zrange(USED, 0, -1, withscores=True)))
        return tuple(sorted(INSTRUMENTS, key=lambda name: -float(used.get(name, 0))))
