"""`DueJobs`: finds the open jobs that a periodic task must look at now, without reading the others."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis

from stemdrop.domain.jobs import Job
from stemdrop.storage.connection import run_script
from stemdrop.storage.job_lists import read_job
from stemdrop.storage.keys import JOB, OPEN

# The longest time between two looks at an open job.
LONGEST_WAIT_S = 300.0
# The clocks of two machines differ by less.
CLOCK_SKEW_S = 60

_ADD_MISSING = """
-- KEYS: open, due
for _, id in ipairs(redis.call('ZDIFF', 2, KEYS[1], KEYS[2])) do redis.call('ZADD', KEYS[2], 0, id) end
"""

_PUT_OFF = """
-- KEYS: due   ARGV: for each job its id, when it was due, and when it is to be due
for i = 1, #ARGV, 3 do
  local id, due_at = ARGV[i], tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or '')
  -- a job that has moved meanwhile is due at once
  if due_at and due_at == tonumber(ARGV[i + 1]) then redis.call('ZADD', KEYS[1], ARGV[i + 2], id) end
end
"""


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job that was due at `due_at` (Unix seconds); `job` is `None` where it cannot be read."""

    job_id: str
    due_at: float
    job: Job | None


class DueJobs:
    """Open jobs by the time of their next look; a move makes a job due now. Raises `StoreUnavailable`."""

    def __init__(self, redis: Redis, key: str, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._key = key
        self._clock = clock

    async def add_missing(self) -> None:
        """Make every open job due that is not in the index, as may happen after an update of stemdrop."""
        await run_script(self._redis, _ADD_MISSING, [OPEN, self._key], [])

    async def find(self, limit: int, before: float | None = None) -> list[DueJob]:
        """Return at most `limit` jobs that were due `before` (default: now), the longest due first.

        Jobs that are due after the longest possible wait are included, since a clock was set back.
        """
        now = self._clock()
        times = (("-inf", before or now), (now + LONGEST_WAIT_S + CLOCK_SKEW_S, "+inf"))
        due: list[tuple[str, float]] = []
        for first, last in times:
            ids = await self._redis.zrangebyscore(
                self._key, first, last, start=0, num=limit - len(due), withscores=True
            )
            due += cast(list[tuple[str, float]], ids)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for job_id, _ in due:
                pipeline.hgetall(JOB.format(job_id))
            stored = await pipeline.execute()
        found = []
        for (job_id, due_at), fields in zip(due, stored, strict=True):
            if fields.get("state"):
                found.append(DueJob(job_id, due_at, read_job(fields)))
            else:  # it has expired
                await self._redis.zrem(OPEN, job_id)
                await self._redis.zrem(self._key, job_id)
        return found

    async def put_off(self, looks: Iterable[tuple[DueJob, float]]) -> None:
        """Make each job due at a later time, unless it has moved since it was found."""
        args: list[str | float] = []
        for due, at in looks:
            args += [due.job_id, due.due_at, at]
        if args:
            await run_script(self._redis, _PUT_OFF, [self._key], args)
