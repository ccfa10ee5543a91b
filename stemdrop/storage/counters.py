"""`Counts`: what all processes count, added up in Redis.

Counting costs nobody a moment and never fails: it is done in memory, and written once a second. What a
killed process had not written yet is lost, a second's worth; what moves a job is counted with the move
(`scripts.py`).
"""

import asyncio
import logging
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, cast

from redis.asyncio import Redis

from stemdrop.errors import StoreUnavailable
from stemdrop.observability.metric_definitions import Metric
from stemdrop.storage.connection import translated
from stemdrop.storage.keys import COUNTS, COUNTS_LATELY, COUNTS_LATELY_LIFETIME_S, COUNTS_SLOT_S

log = logging.getLogger(__name__)

WRITE_EVERY_S = 1.0


class Counters:
    """With `redis` None nothing is written: for whoever is not measured."""

    def __init__(self, redis: Redis | None, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._added: dict[str, float] = {}
        self._noted: dict[str, float] = {}

    def add(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """So many more of a counter."""
        self._count(metric.field(*labels), by)

    def observe(self, metric: Metric, *labels: str, seconds: float) -> None:
        """One more of a histogram."""
        field = metric.field(*labels)
        self._count(f"{field}|{bucket(metric, seconds)}", 1)
        self._count(f"{field}|ms", round(max(0.0, seconds) * 1000))

    @contextmanager
    def timed(self, metric: Metric, *labels: str) -> Iterator[None]:
        """Observe how long the block took, if it succeeds."""
        began_at = time.monotonic()
        yield
        self.observe(metric, *labels, seconds=time.monotonic() - began_at)

    def note(self, metric: Metric, value: float) -> None:
        """What a gauge shows from now on."""
        self._noted[metric.name] = value

    async def write(self) -> None:
        """Add to Redis what was counted since; what cannot be written now is kept for the next time."""
        added, noted = self._added, self._noted
        if self._redis is None or not (added or noted):
            return
        self._added, self._noted = {}, {}
        lately = COUNTS_LATELY.format(int(self._clock() // COUNTS_SLOT_S))
        try:
            async with translated(), self._redis.pipeline(transaction=True) as pipeline:
                for field, by in added.items():
                    pipeline.hincrbyfloat(COUNTS, field, by)
                    pipeline.hincrbyfloat(lately, field, by)
                pipeline.expire(lately, COUNTS_LATELY_LIFETIME_S)
                if noted:
                    pipeline.hset(COUNTS, mapping=cast(Any, noted))
                await pipeline.execute()
        except StoreUnavailable as error:
            log.debug("what was counted is not written yet: %s", error)
            for field, by in added.items():
                self._count(field, by)
            self._noted = noted | self._noted

    @asynccontextmanager
    async def written(self, every_s: float = WRITE_EVERY_S) -> AsyncIterator[None]:
        """While the block runs, and once more when it ends."""

        stop = asyncio.Event()

        async def write_on() -> None:  # never cut off while it writes: nobody would know what is written
            while not stop.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), every_s)
                await self.write()

        writing = asyncio.create_task(write_on(), name="counts")
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(writing, return_exceptions=True)
            await self.write()

    async def all(self) -> dict[str, float]:
        """Everything since the first start, by field. Raises `StoreUnavailable`."""
        return _numbers(await self._stored(COUNTS))

    async def lately(self) -> dict[str, float]:
        """What was counted in the last hour, and up to five minutes more. Raises `StoreUnavailable`."""
        now = int(self._clock() // COUNTS_SLOT_S)
        slots = range(now - 3600 // COUNTS_SLOT_S, now + 1)
        total: dict[str, float] = {}
        if self._redis is not None:
            async with translated(), self._redis.pipeline(transaction=False) as pipeline:
                for slot in slots:
                    pipeline.hgetall(COUNTS_LATELY.format(slot))
                for stored in await pipeline.execute():
                    for field, value in _numbers(stored).items():
                        total[field] = total.get(field, 0) + value
        return total

    def _count(self, field: str, by: float) -> None:
        self._added[field] = self._added.get(field, 0) + by

    async def _stored(self, key: str) -> dict[str, str]:
        if self._redis is None:
            return {}
        async with translated():
            return cast(dict[str, str], await cast(Any, self._redis.hgetall(key)))


def bucket(metric: Metric, seconds: float) -> str:
    """The upper bound of the first bucket that holds it, as its field ends."""
    index = bisect_left(metric.buckets, seconds)
    return f"{metric.buckets[index]:g}" if index < len(metric.buckets) else "+Inf"


def _numbers(stored: dict[str, str]) -> dict[str, float]:
    """What somebody else has written there is passed over."""
    numbers = {}
    for field, value in stored.items():
        try:
            numbers[field] = float(value)
        except ValueError:
            continue
    return numbers
