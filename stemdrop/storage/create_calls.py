"""The record of each create call: which provider was asked, what came of it, and what it cost.

`CREATE_CALLS_LUA` are the Lua functions that write it, a part of `script_prelude.py`. The record outlives its
job; it names no person, chat or song.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self, cast

from stemdrop.storage.connection import RedisStore
from stemdrop.storage.keys import CALL, CALL_SOURCE, JOB, LEDGER

# How many records are read from Redis at once.
_PORTION = 500

CREATE_CALLS_LUA = """
local ranks = {asked = 0, lost = 1, refused = 2, accepted = 2, failed = 3, refunded = 3, succeeded = 3}

-- the credits that are held or settled for these calls: of those without an answer one is held, unless
-- another call was accepted
local function credits_of(calls)
  local charged, accepted, open = 0, nil, 0
  for call in string.gmatch(calls, '[^,]+') do
    local known = record(CALL:format(call))
    local price = tonumber(known.price or '0')
    if known.outcome == 'failed' then charged = charged + price
    elseif known.outcome == 'accepted' or known.outcome == 'succeeded' then accepted = (accepted or 0) + price
    elseif known.outcome == 'asked' or known.outcome == 'lost' then open = price
    end
  end
  return charged + (accepted or open)
end

-- notes what came of a call; an acceptance that is stored after the result is no news
local function note_call(call, outcome, now, ...)
  local known = record(CALL:format(call))
  local provider, before = known.provider, known.outcome
  if not provider then return end
  local calls = not get(known.job, 'state') and redis.call('GET', CALLS_OF:format(known.job))
  local credits = calls and credits_of(calls)
  if (ranks[before] or 0) > ranks[outcome] then outcome = before end
  if before ~= outcome then tally('create_calls|' .. provider .. '|' .. outcome, 1, now) end
  write(CALL:format(call), 'outcome', outcome, 'at', now, ...)
  -- only a call that may be sent again needs the link to the song
  local was_awaited = before == 'asked' or before == 'lost'
  if was_awaited and outcome ~= 'lost' then redis.call('DEL', CALL_SOURCE:format(call)) end
  if not calls then return end
  -- its job was deleted
  local spent, back = redis.call('GET', SPENT_OF:format(known.job)), credits - credits_of(calls)
  if spent and back ~= 0 and redis.call('HEXISTS', spent, known.job) == 1 then
    give_back_price(spent, known.job, back)
  end
end

-- the last call of the job, at this provider if one is named, whose answer is still to come
local function open_call(id, provider)
  local found
  local calls = get(id, 'calls') or redis.call('GET', CALLS_OF:format(id)) or ''
  for call in string.gmatch(calls, '[^,]+') do
    local known = record(CALL:format(call))
    local is_open = (known.outcome == 'asked' or known.outcome == 'lost') and not known.task
    if is_open and (provider == '' or known.provider == provider) then found = call end
  end
  return found
end

local calls_of = {}  -- by task; each is read once

-- the call that has brought the task; empty if it is not known
local function call_of(task)
  if not calls_of[task] then
    local call = redis.call('GET', CALL_OF_TASK:format(task))
    calls_of[task] = call and record(CALL:format(call)) or {}
  end
  return calls_of[task]
end

-- notes which call has brought the task, unless that is known
local function set_call_of(task, call)
  if redis.call('SET', CALL_OF_TASK:format(task), call, 'EX', JOB_LIFETIME_S, 'NX') then
    calls_of[task] = record(CALL:format(call))
  end
end

-- notes what came of the call whose task this is; a callback may be quicker than the answer to the call
local function note_result(id, task, provider, is_success, is_refunded, now)
  local call = redis.call('GET', CALL_OF_TASK:format(task))
  if not call then
    call = open_call(id, provider)
    if not call then return end
    set_call_of(task, call)
  end
  if record(CALL:format(call)).outcome == 'succeeded' then return end
  local outcome = is_success == '1' and 'succeeded' or is_refunded == '1' and 'refunded' or 'failed'
  note_call(call, outcome, now, 'task', task)
end

-- notes what came of a deleted job's call, whose record outlives the job
local function note_deleted_result(id, task, provider, is_success, is_refunded, now)
  local unanswered = not call_of(task).job and open_call(id, provider)
  if unanswered then set_call_of(task, unanswered) end
  local call = call_of(task)
  if call.job ~= id or (provider ~= '' and provider ~= call.provider) then return end
  note_result(id, task, provider, is_success, is_refunded, now)
end

-- whether this provider was asked for the job; of older jobs it is not known
local function was_asked(id, provider)
  local calls = get(id, 'calls') or ''
  if calls == '' or provider == '' then return true end
  for call in string.gmatch(calls, '[^,]+') do
    if record(CALL:format(call)).provider == provider then return true end
  end
  return false
end

-- another provider than this one is asked next; `code` says what a failure of all is told as
local function avoid(id, provider, code)
  local tried = get(id, 'tried') or ''
  if string.find(',' .. tried .. ',', ',' .. provider .. ',', 1, true) == nil then
    set(id, 'tried', tried == '' and provider or tried .. ',' .. provider)
  end
  set(id, 'refusal', code)
end

-- the price of the job becomes that of the call which it waits for, unless its account pays nothing
local function change_price(id, price)
  if not price or get(id, 'is_unlimited') == 'true' or has(id, 'paid_by') then return end
  local charge, before = get(id, 'charge') or '', tonumber(get(id, 'price') or '0')
  set(id, 'price', tostring(price))
  if charge == 'held' or charge == 'settled' then
    if price ~= before then redis.call('HINCRBY', spent_key(id), id, price - before) end
  elseif charge == '' then
    take(id, 'held')
  end
end

-- what the call cost that has brought the task; a call without a record cost as much as the job
local function price_of(id, task)
  local price = get(id, 'is_unlimited') ~= 'true' and call_of(task).price
  return tonumber(price or get(id, 'price') or '0')
end

-- whether the task failed at no cost, so that another call was made in its place: its price is never taken,
-- and that of the other call is held
local function was_replaced(id, task)
  return get(id, 'replaced:' .. task) ~= nil
end

-- the ids of the job's calls whose prices are counted or may be
local function counted_calls(id)
  local counted = ''
  for call in string.gmatch(get(id, 'calls') or '', '[^,]+') do
    local task = record(CALL:format(call)).task
    if not task or not was_replaced(id, task) then counted = counted .. ',' .. call end
  end
  return counted
end

-- the job waits for the answer to this call now
local function await_call(id, call)
  local asked = call and record(CALL:format(call)) or {}
  if not asked.provider then return end
  set(id, 'provider', asked.provider)
  change_price(id, tonumber(asked.price))
end

-- the job waits for this task now, or has its result; `is_counted`: the task is paid for beside another one,
-- whose place it takes
local function await_task(id, task, is_counted)
  set(id, 'task_id', task)
  local provider = call_of(task).provider
  if provider then set(id, 'provider', provider) end
  if not provider or was_replaced(id, task) or has(id, 'paid_by') then return end
  local price = price_of(id, task)
  if is_counted then set(id, 'price', tostring(price)) else change_price(id, price) end
end
"""


class CallOutcome(StrEnum):
    ASKED = "asked"  # no answer yet
    LOST = "lost"  # its answer was lost
    REFUSED = "refused"  # not accepted, and not charged
    ACCEPTED = "accepted"  # no result yet
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # failed, and charged unless that is known to be false
    REFUNDED = "refunded"  # failed, and not charged


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateCall:
    """One create call. `price` is in credits, for one accepted call; times are Unix seconds.

    `source` is its link to the song, which is only kept while the call may be sent again.
    """

    id: str
    job_id: str
    provider: str
    mode: str
    instrument: str
    duration_s: int
    price: int
    source: str
    is_uploaded: bool
    asked_at: float
    outcome: CallOutcome = CallOutcome.ASKED
    at: float = 0
    code: str = ""
    task_id: str = ""

    @property
    def is_paid(self) -> bool | None:
        """Whether the provider has charged it; `None`: not known."""
        if self.outcome in (CallOutcome.SUCCEEDED, CallOutcome.FAILED):
            return True
        return None if self.outcome in (CallOutcome.LOST, CallOutcome.ACCEPTED, CallOutcome.ASKED) else False

    def to_fields(self) -> dict[str, str]:
        """Return the fields for `begin_create`, without `source`: a long link would treble the record."""
        return {
            "job": self.job_id,
            "provider": self.provider,
            "mode": self.mode,
            "instrument": self.instrument,
            "seconds": str(self.duration_s),
            "price": str(self.price),
            "is_uploaded": "1" if self.is_uploaded else "",
            "asked_at": str(self.asked_at),
        }

    @classmethod
    def from_fields(cls, call_id: str, stored: Mapping[str, str], source: str = "") -> Self:
        """Build a call from its stored fields, those that were noted later included."""
        return cls(
            id=call_id,
            job_id=stored.get("job", ""),
            provider=stored.get("provider", ""),
            mode=stored.get("mode", ""),
            instrument=stored.get("instrument", ""),
            duration_s=int(stored.get("seconds") or 0),
            price=int(stored.get("price") or 0),
            source=source,
            is_uploaded=bool(stored.get("is_uploaded")),
            asked_at=float(stored.get("asked_at") or 0),
            outcome=CallOutcome(stored.get("outcome", "asked")),
            at=float(stored.get("at") or 0),
            code=stored.get("code", ""),
            task_id=stored.get("task", ""),
        )


class CreateCalls(RedisStore):
    """Reads the records. Every method raises `StoreUnavailable`."""

    async def get(self, call_id: str) -> CreateCall | None:
        """Return one call, with its source."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(CALL.format(call_id))
            pipeline.get(CALL_SOURCE.format(call_id))
            stored, source = cast(tuple[dict[str, str], str | None], await pipeline.execute())
        return CreateCall.from_fields(call_id, stored, source or "") if stored else None

    async def of_job(self, job_id: str) -> list[CreateCall]:
        """Return the calls that were made for a job that is still stored, the first one first."""
        ids = cast(str | None, await self._redis.hget(JOB.format(job_id), "calls")) or ""
        return await self._read([it for it in ids.split(",") if it])

    async def since(self, began_at: float) -> AsyncIterator[CreateCall]:
        """Yield the calls that began since `began_at` (Unix seconds), the first one first."""
        low, known = began_at, 0  # `known`: how many of the calls that began at `low` were read
        while found := await self._portion(low, known):
            for call in await self._read([call_id for call_id, _ in found]):
                yield call
            last = found[-1][1]
            known = sum(at == last for _, at in found) + (known if last == low else 0)
            low = last

    async def _portion(self, began_at: float, known: int) -> list[tuple[str, float]]:
        found = await self._redis.zrangebyscore(
            LEDGER, began_at, "+inf", start=known, num=_PORTION, withscores=True
        )
        return cast(list[tuple[str, float]], found)

    async def _read(self, ids: list[str]) -> list[CreateCall]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for call_id in ids:
                pipeline.hgetall(CALL.format(call_id))
            found = cast(list[dict[str, str]], await pipeline.execute())
        return [CreateCall.from_fields(call_id, it) for call_id, it in zip(ids, found, strict=True) if it]
