"""The Lua functions that count a job's moves as metrics, each exactly once."""

from collections.abc import Iterable

from stemdrop.domain.jobs import UNDELIVERED
from stemdrop.observability.metric_definitions import ENDED, FAILED, NO_MODE, OTHER, STATE_SECONDS
from stemdrop.storage import keys


def _lua_set(values: Iterable[str]) -> str:
    return "{" + ", ".join(f"['{value}'] = true" for value in values) + "}"


# A metric that cannot be counted must not stop the step (`pcall`).
TALLY = f"""
local undelivered = {_lua_set(sorted(UNDELIVERED))}
local known_codes = {_lua_set(FAILED.labels[0].values)}
local bounds = {{{", ".join(f"'{bound:g}'" for bound in STATE_SECONDS.buckets)}}}

local function tally(field, by, now)
  local lately = COUNTS_LATELY:format(math.floor(now / {keys.COUNTS_SLOT_S}))
  redis.pcall('HINCRBY', COUNTS, field, by)
  redis.pcall('HINCRBY', lately, field, by)
  redis.pcall('EXPIRE', lately, {keys.COUNTS_LATELY_LIFETIME_S})
end

-- counts how long the job was in the state that it leaves, and how it ends; `since`: when that state began
local function tally_move(id, before, since, state, now)
  since, now = tonumber(since or ''), tonumber(now)
  if before == state or not before or not now then return end
  local mode = get(id, 'mode_name')
  if not mode or mode == '' then mode = '{NO_MODE}' end
  if since and before ~= 'delivered' and before ~= 'failed' and before ~= 'cancelled' then
    local ms = math.max(0, math.floor((now - since) * 1000 + 0.5))
    local within = '+Inf'
    for _, bound in ipairs(bounds) do
      if ms <= tonumber(bound) * 1000 then within = bound; break end
    end
    local field = '{STATE_SECONDS.name}|' .. before .. '|' .. mode .. '|'
    tally(field .. within, 1, now)
    tally(field .. 'ms', ms, now)
  end
  local outcome = state
  if state == 'failed' then
    local code = get(id, 'failure_code')
    tally('{FAILED.name}|' .. (known_codes[code or ''] and code or '{OTHER}'), 1, now)
  elseif state == 'delivered' and is_incomplete(id) then
    outcome = 'incomplete'
  elseif state ~= 'delivered' and state ~= 'cancelled' then
    return
  end
  tally('{ENDED.name}|' .. outcome .. '|' .. mode, 1, now)
end
"""
