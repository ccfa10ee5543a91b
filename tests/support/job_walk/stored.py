"""The contents of Redis as a value that can be put back and compared, and steps from it.

A step and its repetition are one EVAL, which puts back what was stored before it and returns what is stored
after it. Many are sent at once.
"""

import json
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from types import SimpleNamespace, coroutine
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from stemdrop.domain.job_fields import from_fields
from stemdrop.domain.jobs import Job
from stemdrop.storage import call_steps, job_store, keys, script_prelude
from stemdrop.storage.job_store import JobStore

# Equal contents are equal texts. Counters of metrics differ by the way to a state, and no step reads them.
_LUA = f"""
local function take()
  local names, found = redis.call('KEYS', '*'), {{}}
  table.sort(names)
  for _, key in ipairs(names) do
    if string.sub(key, 1, {len(keys.COUNTS)}) ~= '{keys.COUNTS}' then
      local kind, value = redis.call('TYPE', key).ok
      if kind == 'hash' then
        value = {{}}
        local fields = redis.call('HKEYS', key)
        table.sort(fields)
        local values = redis.call('HMGET', key, unpack(fields))
        for i, name in ipairs(fields) do value[2 * i - 1], value[2 * i] = name, values[i] end
      elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
      else value = {{redis.call('GET', key)}} end
      found[#found + 1] = {{key, kind, value}}
    end
  end
  return cjson.encode(found)
end

local function put(packed)
  redis.call('FLUSHDB')
  for _, entry in ipairs(cjson.decode(packed)) do
    local key, kind, value = unpack(entry)
    if kind == 'hash' then redis.call('HSET', key, unpack(value))
    elseif kind == 'zset' then
      for i = 1, #value, 2 do redis.call('ZADD', key, value[i + 1], value[i]) end
    else redis.call('SET', key, value[1]) end
  end
end
"""
# KEYS: the step's   ARGV: what is stored before, the step's …
_TRY = (
    _LUA
    + """
local before = ARGV[1]
local function step(KEYS, ARGV)
  --STEP--
end
put(before)
local answer = step({unpack(KEYS)}, {unpack(ARGV, 2)})
if answer == nil then answer = false end
local after = take()
if after == before then return {answer, '', 1} end
step({unpack(KEYS)}, {unpack(ARGV, 2)})
return {answer, after, take() == after and 1 or 0}
"""
)
# Commands that are sent before their answers are read.
_AT_ONCE = 400


@dataclass(frozen=True, eq=False)
class Stored:
    """All keys with their values, but without their lifetimes. Equal contents are one object."""

    packed: str

    @cached_property
    def _values(self) -> Mapping[str, tuple[str, list[str]]]:
        return {key: (kind, value) for key, kind, value in json.loads(self.packed)}

    def mapping(self, key: str) -> dict[str, str]:
        """Return a hash; a missing one is empty."""
        _, value = self._values.get(key, ("", []))
        return dict(zip(value[::2], value[1::2], strict=True))

    def members(self, key: str) -> list[str]:
        """Return the members of a sorted set by score."""
        return self._values.get(key, ("", []))[1][::2]

    def naming(self, text: str) -> list[str]:
        """Return the keys whose name or value holds this text."""
        return [key for key, (_, value) in self._values.items() if text in key or text in str(value)]

    def fields(self, job_id: str) -> dict[str, str]:
        return self._fields.setdefault(job_id, self.mapping(keys.JOB.format(job_id)))

    def job(self, job_id: str) -> Job | None:
        if job_id not in self._jobs:
            stored = self.fields(job_id)
            self._jobs[job_id] = from_fields(stored) if stored.get("state") else None
        return self._jobs[job_id]

    @cached_property
    def _fields(self) -> dict[str, dict[str, str]]:
        return {}

    @cached_property
    def _jobs(self) -> dict[str, Job | None]:
        return {}


Step = Callable[[JobStore], Coroutine[Any, Any, Any]]


@dataclass(frozen=True)
class Trial:
    """A step that is to be tried. `name` holds all its arguments and is the token that it draws."""

    before: Stored
    name: str
    now: float
    step: Step = field(compare=False)


@dataclass(frozen=True)
class Tried:
    """What a step answered, what it left, and whether its repetition left the same."""

    answer: Any
    after: Stored
    is_idempotent: bool


@dataclass(frozen=True)
class _Call:
    text: str
    keys: list[str]
    args: list[Any]


@coroutine
def _asked(call: _Call) -> Generator[_Call, Any, Any]:
    return (yield call)


class _CallingStore(JobStore):
    """A store whose coroutines yield their scripts as `_Call` to their runner, instead of running them."""

    async def _run(self, text: str, keys: list[str], args: list[Any]) -> Any:
        return await _asked(_Call(script_prelude.PRELUDE + text, keys, args))


@dataclass
class Steps:
    """Tries steps of the product's `JobStore` from any state. Each step is run once per state and moment."""

    redis: Redis
    now: float = 0
    token: str = ""
    _store: JobStore = field(init=False)
    _known: dict[str, Stored] = field(default_factory=dict)
    _tried: dict[Trial, Tried] = field(default_factory=dict)
    _scripts: dict[str, AsyncScript] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Give the store a clock that the walk sets."""
        self._store = _CallingStore(self.redis, lambda: self.now)
        self._take = self.redis.register_script(_LUA + "return take()")

    @contextmanager
    def named_tokens(self) -> Iterator[None]:
        """Let the store draw the token of the step instead of a random one."""
        with pytest.MonkeyPatch.context() as patch:
            for module in (job_store, call_steps):
                patch.setattr(module, "secrets", SimpleNamespace(token_hex=lambda _: self.token))
            yield

    async def run(self, trial: Trial) -> Tried:
        await self.run_all([trial])
        return self._tried[trial]

    async def run_all(self, trials: Iterable[Trial]) -> None:
        """Run the steps that were not tried before, each of them twice, as after a broken connection."""
        new = iter(dict.fromkeys(trial for trial in trials if trial not in self._tried))
        while batch := list(islice(new, _AT_ONCE)):
            await self._run(batch)

    def tried(self, trial: Trial) -> Tried:
        """Return the result of a step that `run_all` has run."""
        return self._tried[trial]

    async def _run(self, batch: list[Trial]) -> None:
        begun = []
        async with self.redis.pipeline(transaction=False) as pipeline:
            for trial in batch:
                self.now, self.token = trial.now, trial.name
                running = trial.step(self._store)
                call: _Call = running.send(None)
                script = self._script(call.text)
                await script(call.keys, [trial.before.packed, *call.args], client=pipeline)
                begun.append(running)
            answers = await pipeline.execute()
        for trial, running, (answer, after, is_same) in zip(batch, begun, answers, strict=True):
            try:
                running.send(answer)
            except StopIteration as ended:
                stored = self._stored(after) if after else trial.before
                self._tried[trial] = Tried(ended.value, stored, bool(is_same))

    def _script(self, text: str) -> AsyncScript:
        if text not in self._scripts:
            self._scripts[text] = self.redis.register_script(_TRY.replace("--STEP--", text))
        return self._scripts[text]

    def forget(self) -> None:
        """Forget all results, because the scripts have changed."""
        self._tried.clear()

    async def take(self) -> Stored:
        """Return what Redis holds now."""
        return self._stored(await cast(Awaitable[str], self._take()))

    def _stored(self, packed: str) -> Stored:
        return self._known.setdefault(packed, Stored(packed))
