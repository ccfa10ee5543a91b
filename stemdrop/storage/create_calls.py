"""The record of each create call: who was asked for a job, who was paid, and what.

`CREATE_CALLS` are the Lua functions that write it, a part of `script_prelude.py`. The record outlives its
job; it names no person, chat or song.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self, cast

from stemdrop.storage.connection import RedisStore
from stemdrop.storage.keys import CALL, CALL_SOURCE, JOB, LEDGER

# So many records are read from Redis at once.
_PORTION = 500

CREATE_CALLS = """
local function note_call(call, outcome, now, ...)
  local provider, before = unpack(redis.call('HMGET', CALL:format(call), 'provider', 'outcome'))
  if not provider then return end
  if before ~= outcome then tally('create_calls|' .. provider .. '|' .. outcome, 1, now) end
  redis.call('HSET', CALL:format(call), 'outcome', outcome, 'at', now, ...)
  -- only a call that may be sent again needs the link to the song
  if outcome ~= 'lost' then redis.call('DEL', CALL_SOURCE:format(call)) end
end

-- notes what came of the call whose task this is; a callback may be quicker than the answer to the call
local function note_result(id, task, is_success, is_refunded, now)
  local call = redis.call('GET', CALL_OF_TASK:format(task))
  if not call then
    call = get(id, 'create_started_by') or ''
    if redis.call('HEXISTS', CALL:format(call), 'task') == 1 then return end
    redis.call('SET', CALL_OF_TASK:format(task), call, 'EX', JOB_LIFETIME_S)
  end
  if redis.call('HGET', CALL:format(call), 'outcome') == 'succeeded' then return end
  local outcome = is_success == '1' and 'succeeded' or is_refunded == '1' and 'refunded' or 'failed'
  note_call(call, outcome, now, 'task', task)
end

-- whether this provider was asked for the job; of older jobs it is not known
local function was_asked(id, provider)
  local asked = get(id, 'asked') or ''
  return asked == '' or provider == '' or string.find(asked .. ',', ',' .. provider .. ',', 1, true) ~= nil
end

-- another provider than this one is asked next; `code` says why
local function avoid(id, provider, code)
  local tried = get(id, 'tried') or ''
  if string.find(',' .. tried .. ',', ',' .. provider .. ',', 1, true) == nil then
    set(id, 'tried', tried == '' and provider or tried .. ',' .. provider)
  end
  if (get(id, 'refusal') or '') == '' then set(id, 'refusal', code) end
end

-- the held price becomes that of the provider that is asked, unless the account pays nothing
local function change_price(id, price)
  local held = tonumber(get(id, 'price') or '0')
  if held == 0 or held == price then return end
  local charge = get(id, 'charge')
  if charge == 'held' then
    redis.call('HINCRBY', spent_key(id), id, price - held)
    set(id, 'price', tostring(price))
  end
end
"""


class CallOutcome(StrEnum):
    ASKED = "asked"  # no answer yet
    LOST = "lost"  # its answer was lost
    REFUSED = "refused"  # not accepted, and not charged
    ACCEPTED = "accepted"  # no result yet
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # and charged, or not known not to be
    REFUNDED = "refunded"  # failed, and not charged


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateCall:
    """One create call. `price` is in credits, for one accepted call; times are Unix seconds.

    `source` is its link to the song, which is only kept while it may be sent again.
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
        """Return the fields that its begin writes, without the source: a long one trebles a record's size."""
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
        """The reverse of `to_fields`, with what was noted since."""
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
        """Yield the calls that began since then (Unix seconds), the first one first, read in portions."""
        low, known = began_at, 0  # of the calls that began at `low`, so many were read
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
