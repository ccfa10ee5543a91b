"""`Snapshots`: the state of all processes at one moment, for `/metrics` and `stemdrop status`.

Redis adds up the jobs itself, hundreds at a time, so ten thousand open jobs block it only for moments.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from redis.asyncio import Redis

from stemdrop.domain.providers import PROVIDER_NAMES
from stemdrop.domain.queues import Queue
from stemdrop.observability.metric_definitions import NO_MODE
from stemdrop.storage.circuits import Circuit, Circuits
from stemdrop.storage.connection import run_script
from stemdrop.storage.counters import Counters
from stemdrop.storage.flood_limiter import pause_left
from stemdrop.storage.heartbeats import Heartbeat, Heartbeats
from stemdrop.storage.keys import GIVEN_UP, JOB, OPEN, TASK_RECORD, TASK_STREAM, TASKS_PUT_OFF

# How many jobs are added up in one step, which blocks Redis for about two milliseconds.
_JOBS_A_STEP = 500
# For how many put-off tasks of a queue the reason is read.
_REASONS_MOST = 1000

_ADD_UP = """
-- KEYS: open   ARGV: first and last rank, what precedes an id in a job's key
-- returns state, mode as JSON, how many, the earliest move; for each state and mode
local order, count, since = {}, {}, {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2])) do
  local job = redis.call('HMGET', ARGV[3] .. id, 'state', 'mode', 'moved_at')
  if job[1] then
    local kind = job[1] .. '|' .. (job[2] or 'null')
    local moved_at = job[3] or '0'
    if not count[kind] then
      order[#order + 1] = kind
      count[kind], since[kind] = 0, moved_at
    end
    count[kind] = count[kind] + 1
    if (tonumber(moved_at) or 0) < (tonumber(since[kind]) or 0) then since[kind] = moved_at end
  end
end
local found = {}
for _, kind in ipairs(order) do
  found[#found + 1] = {kind, count[kind], since[kind]}
end
return found
"""

_COUNT_TASKS = """
-- KEYS: the engine's stream, its tasks that are put off
-- ARGV: what precedes a key in the name of a task's record, of how many reasons are told
-- returns how many are in the stream, run, and are put off, the ms for which the first waiting task waits,
-- and the reasons of those that are put off
local length, put_off, why = redis.call('XLEN', KEYS[1]), redis.call('ZCARD', KEYS[2]), {}
for _, key in ipairs(redis.call('ZRANGE', KEYS[2], 0, ARGV[2] - 1)) do
  why[#why + 1] = redis.call('HGET', ARGV[1] .. key, 'why') or nil
end
if length == 0 then return {0, 0, put_off, 0, why} end
-- tasks that the stream's only group has taken are running
local running, taken = 0, '-'
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  for i = 1, #group, 2 do
    if group[i] == 'pending' then running = group[i + 1] end
    if group[i] == 'last-delivered-id' then taken = '(' .. group[i + 1] end
  end
end
local first = redis.call('XRANGE', KEYS[1], taken, '+', 'COUNT', 1)[1]
if not first then return {length, running, put_off, 0, why} end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
return {length, running, put_off, now_ms - tonumber(string.match(first[1], '^%d+')), why}
"""


@dataclass(frozen=True, slots=True)
class JobGroup:
    """The jobs in one state and mode, and for how many seconds the oldest has been in that state."""

    count: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """The tasks of one queue; the first waiting task has waited `oldest_s` seconds (0: none waits).

    `reasons` counts the tasks that are put off by reason, among the first 1,000.
    """

    waiting: int
    running: int
    put_off: int
    oldest_s: float
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state at `at` (Unix seconds).

    `jobs` is by state and mode, `given_up` counts dead letters by kind, `counters` is from `Counters.all`,
    `circuits` is by provider, and `flood_pause_s` is the rest of a pause that Telegram asked for.
    """

    at: float
    jobs: dict[tuple[str, str], JobGroup]
    queues: dict[Queue, Backlog]
    processes: list[Heartbeat]
    given_up: dict[str, int]
    counters: dict[str, float]
    flood_pause_s: float
    memory_bytes: int
    memory_limit_bytes: int
    circuits: dict[str, Circuit]


class Snapshots:
    """Takes snapshots. Every method raises `StoreUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._counters = Counters(redis, clock)
        self._heartbeats = Heartbeats(redis)
        self._circuits = Circuits(redis, clock)

    async def take(self) -> Snapshot:
        memory = await self._redis.info("memory")
        return Snapshot(
            at=self._clock(),
            jobs=await self._jobs(),
            queues={queue: await self._backlog(queue) for queue in Queue},
            processes=await self._heartbeats.all(),
            given_up=await self._given_up(),
            counters=await self._counters.all(),
            flood_pause_s=await pause_left(self._redis),
            memory_bytes=int(memory.get("used_memory", 0)),
            memory_limit_bytes=int(memory.get("maxmemory", 0)),
            circuits=await self._circuits.all(PROVIDER_NAMES),
        )

    async def lately(self) -> dict[str, float]:
        """Return the counts of the last hour, as `Counters.lately`."""
        return await self._counters.lately()

    async def _jobs(self) -> dict[tuple[str, str], JobGroup]:
        found: dict[tuple[str, str], JobGroup] = {}
        now, first = self._clock(), 0
        while first < await self._redis.zcard(OPEN):
            args = [first, first + _JOBS_A_STEP - 1, JOB.format("")]
            for kind, count, since in await run_script(self._redis, _ADD_UP, [OPEN], args):
                state, _, mode = str(kind).partition("|")
                key = (state, json.loads(mode) or NO_MODE)
                age_s = max(0.0, now - float(since))
                before = found.get(key, JobGroup(0, 0.0))
                found[key] = JobGroup(before.count + int(count), max(before.oldest_s, age_s))
            first += _JOBS_A_STEP
        return found

    async def _backlog(self, queue: Queue) -> Backlog:
        keys = [TASK_STREAM.format(queue), TASKS_PUT_OFF.format(queue)]
        args = [TASK_RECORD.format(queue, ""), _REASONS_MOST]
        found = await run_script(self._redis, _COUNT_TASKS, keys, args)
        length, running, put_off, waits_ms, why = found
        return Backlog(max(0, length - running), running, put_off, max(0, waits_ms) / 1000, Counter(why))

    async def _given_up(self) -> dict[str, int]:
        keys = cast(list[str], await cast(Any, self._redis.hkeys(GIVEN_UP)))
        return dict(Counter(key.partition(":")[0] for key in keys))
