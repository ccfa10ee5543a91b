"""The contents of Redis as a value that can be taken, put back and compared, and steps from it."""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from stemdrop.domain.job_fields import from_fields
from stemdrop.domain.jobs import Job
from stemdrop.storage import job_store, keys
from stemdrop.storage.job_store import JobStore

# Counters of metrics differ by the way to a state, and no step reads them.
_TAKE = f"""
local found = {{}}
for _, key in ipairs(redis.call('KEYS', '*')) do
  if string.sub(key, 1, {len(keys.COUNTS)}) ~= '{keys.COUNTS}' then
    local kind, value = redis.call('TYPE', key).ok
    if kind == 'hash' then value = redis.call('HGETALL', key)
    elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    else value = {{redis.call('GET', key)}} end
    found[#found + 1] = {{key, kind, value}}
  end
end
return cjson.encode(found)
"""
_PUT = """
redis.call('FLUSHDB')
for _, entry in ipairs(cjson.decode(ARGV[1])) do
  local key, kind, value = unpack(entry)
  if kind == 'hash' then redis.call('HSET', key, unpack(value))
  elseif kind == 'zset' then
    for i = 1, #value, 2 do redis.call('ZADD', key, value[i + 1], value[i]) end
  else redis.call('SET', key, value[1]) end
end
"""

Data = tuple[tuple[str, str, tuple[Any, ...]], ...]


@dataclass(frozen=True, eq=False)
class Stored:
    """All keys with their values, but without their lifetimes. Equal ones are one object."""

    data: Data
    packed: str  # the same for the script that puts it back

    @cached_property
    def _values(self) -> Mapping[str, tuple[Any, ...]]:
        return {key: value for key, _, value in self.data}

    def mapping(self, key: str) -> dict[str, str]:
        """Return a hash; a missing one is empty."""
        return dict(cast(tuple[tuple[str, str], ...], self._values.get(key, ())))

    def members(self, key: str) -> list[str]:
        """Return the members of a sorted set by score."""
        return [member for member, _ in self._values.get(key, ())]

    def naming(self, text: str) -> list[str]:
        """Return the keys whose name or value holds this text."""
        return [key for key, _, value in self.data if text in f"{key} {value}"]

    def fields(self, job_id: str) -> dict[str, str]:
        return self.mapping(keys.JOB.format(job_id))

    def job(self, job_id: str) -> Job | None:
        if job_id not in self._jobs:
            stored = self.fields(job_id)
            self._jobs[job_id] = from_fields(stored) if stored.get("state") else None
        return self._jobs[job_id]

    @cached_property
    def _jobs(self) -> dict[str, Job | None]:
        return {}


@dataclass(frozen=True)
class Tried:
    """What a step answered, what it left, and whether its repetition left the same."""

    answer: Any
    after: Stored
    is_idempotent: bool


@dataclass
class Steps:
    """Tries steps of the product's `JobStore` from any state. Each is run once per state and moment."""

    redis: Redis
    store: JobStore = field(init=False)
    now: float = 0
    token: str = ""
    _current: Stored | None = None
    _known: dict[Data, Stored] = field(default_factory=dict)
    _tried: dict[tuple[Stored, str, float], Tried] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Give the store a clock that the walk sets."""
        self.store = JobStore(self.redis, lambda: self.now)
        self._take, self._put = self.redis.register_script(_TAKE), self.redis.register_script(_PUT)

    @contextmanager
    def named_tokens(self) -> Iterator[None]:
        """Let the store draw the token of the step instead of a random one."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(job_store, "secrets", SimpleNamespace(token_hex=lambda _: self.token))
            yield

    async def run(
        self, before: Stored, name: str, step: Callable[[JobStore], Awaitable[Any]], now: float
    ) -> Tried:
        """Run a step, and once more as a broken connection does; `name` holds all its arguments."""
        tried = self._tried.get((before, name, now))
        if tried is None:
            if self._current is not before:
                await self._put_back(before)
            self.now, self.token = now, name
            answer = await step(self.store)
            after, again = await self.take(), None
            if after is not before:
                await step(self.store)
                again = await self.take()
            tried = Tried(answer, after, again in (after, None))
            self._tried[before, name, now] = tried
        return tried

    def forget(self) -> None:
        """Try every step anew: the scripts have changed."""
        self._tried.clear()

    async def take(self) -> Stored:
        """Return what Redis holds now."""
        packed = await self._take()
        found = json.loads(packed)
        data = tuple(sorted((key, kind, _ordered(kind, value)) for key, kind, value in found))
        if data not in self._known:
            self._known[data] = Stored(data, packed)
        self._current = self._known[data]
        return self._current

    async def _put_back(self, stored: Stored) -> None:
        await self._put(args=[stored.packed])
        self._current = stored


def _ordered(kind: str, value: list[str]) -> tuple[Any, ...]:
    if kind == "string":
        return tuple(value)
    pairs = zip(value[::2], value[1::2], strict=True)
    return tuple(pairs if kind == "zset" else sorted(pairs))
