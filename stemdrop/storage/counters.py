"""Counters of all processes, added up in Redis.

Counting happens in memory and never fails; the sums are written once a second, so that a killed process loses
at most one second of counts. Moves of a job are counted exactly once, by the script that makes the move
(`script_tally.py`).
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import cast

from redis.asyncio import Redis

from stemdrop.errors import StoreUnavailable
from stemdrop.observability.metric_definitions import LAST_TRY, Metric
from stemdrop.storage.connection import run_script
from stemdrop.storage.keys import COUNTS, COUNTS_BEFORE, COUNTS_SLOT_S
from stemdrop.storage.script_tally import KEEP_COUNTS

log = logging.getLogger(__name__)

WRITE_EVERY_S = 1.0
_ADD = (
    KEEP_COUNTS
    + """
-- KEYS: counts, those before   ARGV: number of counts, field, value, … of these and of gauges
local gauges = 2 + 2 * ARGV[1]
keep_counts(KEYS[1], KEYS[2])
for i = 2, gauges - 1, 2 do redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1]) end
if ARGV[gauges] then redis.call('HSET', KEYS[1], unpack(ARGV, gauges)) end
"""
)


class Counters:
    """Counts in memory until `write`. With `redis` None nothing is ever written."""

    def __init__(self, redis: Redis | None, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._added: defaultdict[str, float] = defaultdict(float)
        self._gauges: dict[str, float] = {}

    def add(self, metric: Metric, *labels: str, by: float = 1) -> None:
        self._added[metric.field(*labels)] += by

    def observe(self, metric: Metric, *labels: str, seconds: float) -> None:
        """Add a value to a histogram."""
        field = metric.field(*labels)
        self._added[f"{field}|{metric.bucket(seconds)}"] += 1
        self._added[f"{field}|ms"] += round(max(0.0, seconds) * 1000)

    @contextmanager
    def timed(self, metric: Metric, *labels: str) -> Iterator[None]:
        """Observe how long the block takes if it succeeds."""
        started_at = time.monotonic()
        yield
        self.observe(metric, *labels, seconds=time.monotonic() - started_at)

    def set_gauge(self, metric: Metric, value: float, *labels: str) -> None:
        self._gauges[metric.field(*labels)] = value

    def note_try(self, server: str, *, is_reached: bool) -> None:
        """Note that a try to reach `telegram`, `api` or another provider has just succeeded or failed."""
        self.set_gauge(LAST_TRY, self._clock(), server, "reached" if is_reached else "failed")

    async def write(self) -> None:
        """Add the counts since the last write to Redis; if that fails they are kept for the next time."""
        added, gauges = self._added, self._gauges
        if self._redis is None or not (added or gauges):
            return
        self._added, self._gauges = defaultdict(float), {}
        before = COUNTS_BEFORE.format(int(self._clock() // COUNTS_SLOT_S))
        values = [text for pair in (*added.items(), *gauges.items()) for text in pair]
        try:
            await run_script(self._redis, _ADD, [COUNTS, before], [len(added), *values])
        except StoreUnavailable as error:
            log.debug("the counters could not be written: %s", error)
            for field, by in added.items():
                self._added[field] += by
            self._gauges = gauges | self._gauges

    @asynccontextmanager
    async def written(self, every_s: float = WRITE_EVERY_S) -> AsyncIterator[None]:
        """Write regularly while the block runs, and once more at its end."""
        stop = asyncio.Event()

        async def write_regularly() -> None:
            # an event stops it: after a cancellation in the middle of a write its outcome would be unknown
            while not stop.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), every_s)
                await self.write()

        writing = asyncio.create_task(write_regularly(), name="counters")
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(writing, return_exceptions=True)
            await self.write()

    async def all(self) -> dict[str, float]:
        """Return the totals since the first start, by field. Raises `StoreUnavailable`."""
        return (await self._read([COUNTS]))[0]

    async def lately(self) -> dict[str, float]:
        """Return the sums of the last hour and up to five minutes more. Raises `StoreUnavailable`."""
        now = int(self._clock() // COUNTS_SLOT_S)
        slots = range(now - 3600 // COUNTS_SLOT_S, now + 1)
        totals, *before = await self._read([COUNTS, *map(COUNTS_BEFORE.format, slots)])
        # the clocks of two machines differ: the smallest value is the earliest
        kept = [values for values in before if values]
        if not kept:
            return {}
        sums = {field: total - min(it.get(field, 0) for it in kept) for field, total in totals.items()}
        return {field: by for field, by in sums.items() if by}

    async def _read(self, keys: list[str]) -> list[dict[str, float]]:
        found: list[dict[str, float]] = []
        if self._redis is None:
            return [{} for _ in keys]
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            for stored in cast(list[dict[str, str]], await pipeline.execute()):
                found.append({})
                for field, value in stored.items():
                    with suppress(ValueError):  # not written by us
                        found[-1][field] = float(value)
        return found
