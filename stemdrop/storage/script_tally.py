"""The Lua functions that count a job's moves as metrics, each exactly once."""

from collections.abc import Iterable

from stemdrop.domain.jobs import UNDELIVERED
from stemdrop.observability.metric_definitions import ENDED, JOBS_FAILED, NO_MODE, OTHER, STATE_SECONDS
from stemdrop.storage import keys


def _lua_set(values: Iterable[str]) -> str:
    return "{" + ", ".join(f"['{value}'] = true" for value in values) + "}"


# The counts of the last hour are the difference from the counters as they were before it.
KEEP_COUNTS = f"""
local function keep_counts(counts, before)
  if redis.pcall('EXISTS', before) ~= 0 then return end
  if redis.pcall('COPY', counts, before) ~= 1 then redis.pcall('HSET', before, '', 0) end
  redis.pcall('EXPIRE', before, {keys.COUNTS_BEFORE_LIFETIME_S})
end
"""
# A metric that cannot be counted must not stop the step (`pcall`).
TALLY = f"""{KEEP_COUNTS}
local is_tallying = false
local undelivered = {_lua_set(sorted(UNDELIVERED))}
local known_codes = {_lua_set(JOBS_FAILED.labels[0].values)}
local bounds = {{{", ".join(f"'{bound:g}'" for bound in STATE_SECONDS.buckets)}}}

local function tally(field, by, now)
  local slot = math.floor(now / {keys.COUNTS_SLOT_S})
  if not is_tallying then keep_counts(COUNTS, COUNTS_BEFORE:format(slot)) end
  is_tallying = true
  redis.pcall('HINCRBY', COUNTS, field, by)
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
    tally('{JOBS_FAILED.name}|' .. (known_codes[code or ''] and code or '{OTHER}'), 1, now)
  elseif state == 'delivered' and is_incomplete(id) then
    outcome = 'incomplete'
  elseif state ~= 'delivered' and state ~= 'cancelled' then
    return
  end
  tally('{ENDED.name}|' .. outcome .. '|' .. mode, 1, now)
end
"""
