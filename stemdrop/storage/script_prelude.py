"""The Lua constants and functions that precede every script of a job.

The scripts are the atomic steps of a job. Redis may run a script twice when a connection breaks before its
answer arrives: the second run changes nothing. The scripts build keys themselves, which a Redis cluster does
not allow.
"""

from stemdrop.domain.failures import OVER_LIMIT
from stemdrop.domain.job_fields import encode
from stemdrop.storage import keys
from stemdrop.storage.create_calls import CREATE_CALLS_LUA
from stemdrop.storage.script_tally import TALLY
from stemdrop.storage.split_sharing import SHARING

_KEY_NAMES = (
    *("JOB", "TASK", "OPEN", "RECOVERY_DUE", "PROGRESS_DUE", "LATE", "DELIVERED", "INCOMPLETE"),
    *("OF_ACCOUNT", "FLIGHT", "QUEUE", "SPENT", "SPENT_OF", "CALLS_OF", "RECEIVING"),
    *("COUNTS", "COUNTS_BEFORE", "SPLIT", "WAITING", "OBSTRUCTED", "LEDGER"),
    *("CALL", "CALL_SOURCE", "CALL_OF_TASK"),
)
# Lua constants; a key with a placeholder is made by `NAME:format(…)`.
_KEYS = "".join(f"local {name} = '{getattr(keys, name).replace('{}', '%s')}'\n" for name in _KEY_NAMES)
_KEYS += f"local FAILED_JOBS = '{keys.FAILED}'\n"
_KEYS += f"local DAY_S = {keys.DAY_S}\n"
_KEYS += f"local RECEIVING_LIFETIME_S = {keys.RECEIVING_LIFETIME_S}\n"
_KEYS += f"local SPENT_LIFETIME_S = {keys.SPENT_LIFETIME_S}\n"
_KEYS += f"local SPLIT_LIFETIME_S = {keys.SPLIT_LIFETIME_S}\n"
_KEYS += f"local JOB_LIFETIME_S = {keys.JOB_LIFETIME_S}\n"
_KEYS += f"local CALL_LIFETIME_S = {keys.CALL_LIFETIME_S}\n"
_OVER_LIMIT = ", ".join(f"'{text}'" for pair in encode({"failure": OVER_LIMIT}).items() for text in pair)
_KEYS += f"local over_limit = {{{_OVER_LIMIT}}}\n"


PRELUDE = (
    _KEYS
    + """
-- the hashes of jobs and calls that were read so far: each is read once, and only `write` changes it
local records = {}

local function record(key)
  local known = records[key]
  if not known then
    local stored = redis.call('HGETALL', key)
    known = {}
    for i = 1, #stored, 2 do known[stored[i]] = stored[i + 1] end
    records[key] = known
  end
  return known
end

local function write(key, ...)
  local known, changed = record(key), {}
  for i = 1, select('#', ...), 2 do
    local field, value = select(i, ...)
    if known[field] ~= tostring(value) then
      known[field] = tostring(value)
      changed[#changed + 1] = field
      changed[#changed + 1] = known[field]
    end
  end
  if changed[1] then redis.call('HSET', key, unpack(changed)) end
end

local function job(id) return record(JOB:format(id)) end
local function get(id, field) return job(id)[field] end
local function set(id, ...) write(JOB:format(id), ...) end
local function has(id, field) return (get(id, field) or '') ~= '' end

local function is_incomplete(id)
  return tonumber(get(id, 'missing_count') or 0) + tonumber(get(id, 'refused_count') or 0) > 0
end

-- the last 200 jobs that ended in this way
local function add_to_last(key, id, now)
  redis.call('ZADD', key, now, id)
  redis.call('ZREMRANGEBYRANK', key, 0, -201)
end

local open_lists = {OPEN, RECOVERY_DUE, PROGRESS_DUE}
local in_flight = {submitting = true, separating = true, delivering = true}

local function open(id, now)
  for _, key in ipairs(open_lists) do redis.call('ZADD', key, now, id) end
end

local function close(id)
  for _, key in ipairs(open_lists) do redis.call('ZREM', key, id) end
end
"""
    + TALLY
    + """
-- a day's account maps job to credits; `charge` says whether the price of one call is among them
local function spent_key(id)
  return SPENT:format(get(id, 'account'), get(id, 'account_day'))
end

local function sum_of(spent)
  local sum = 0
  for _, credits in ipairs(redis.call('HVALS', spent)) do sum = sum + tonumber(credits) end
  return sum
end

local function has_charge(id)
  local charge = get(id, 'charge')
  return charge == 'held' or charge == 'settled'
end

-- whether a call at this price would exceed the limit of a day (0: none); on the job's own day, it takes the
-- place of the call whose price is held
local function exceeds(id, price, limit, day)
  local is_held = has_charge(id) and day == get(id, 'account_day')
  local held = is_held and tonumber(get(id, 'price') or '0') or 0
  return limit > 0 and price > held and sum_of(SPENT:format(get(id, 'account'), day)) + price - held > limit
end

local function take(id, charge)
  local price, before = tonumber(get(id, 'price') or '0'), get(id, 'charge')
  if price == 0 or before == charge then return end
  if before ~= 'held' and before ~= 'settled' then
    redis.call('HINCRBY', spent_key(id), id, price)
    redis.call('EXPIRE', spent_key(id), SPENT_LIFETIME_S)
  end
  set(id, 'charge', charge)
end

-- what another call has cost stays spent
local function give_back_price(spent, id, price)
  local left = redis.call('HINCRBY', spent, id, -tonumber(price or '0'))
  if left <= 0 then redis.call('HDEL', spent, id) end
end

-- counts the credits that the job holds on this day; what other calls have cost stays where it is
local function count_on(id, day)
  local before, held = spent_key(id), has_charge(id) and tonumber(get(id, 'price') or '0') or 0
  if day == get(id, 'account_day') then return end
  set(id, 'account_day', day)
  if held == 0 then return end
  give_back_price(before, id, held)
  redis.call('HINCRBY', spent_key(id), id, held)
  redis.call('EXPIRE', spent_key(id), SPENT_LIFETIME_S)
end

local function give_back(id)
  if not has_charge(id) then return end
  give_back_price(spent_key(id), id, get(id, 'price'))
  set(id, 'charge', 'returned')
end

-- takes a job out of the lists of the state that it leaves
local function leave_lists(id, was, state)
  local account, chat = get(id, 'account') or '0', get(id, 'chat_id') or '0'
  local lists = {}
  if was == 'queued' then lists = {QUEUE:format(account)}
  elseif was == 'delivering' then lists = {RECEIVING:format(chat)}
  elseif was == 'delivered' then lists = {DELIVERED, INCOMPLETE}
  elseif was == 'failed' then lists = {FAILED_JOBS, LATE, OBSTRUCTED:format(chat)}
  end
  if in_flight[was] and not in_flight[state] then lists[#lists + 1] = FLIGHT:format(account) end
  for _, key in ipairs(lists) do redis.call('ZREM', key, id) end
end

local enter
"""
    + CREATE_CALLS_LUA
    + SHARING
    + """
-- sets a job's state and puts it into the lists of that state
enter = function(id, state, now)
  local was, since = get(id, 'state'), get(id, 'moved_at')
  set(id, 'state', state, 'moved_at', now, 'starts_at', '0')
  -- after the first write: a full Redis refuses that, and then nothing has happened
  tally_move(id, was, since, state, now)
  leave_payer(id, state)
  leave_lists(id, was, state)
  local account, chat = get(id, 'account') or '0', get(id, 'chat_id') or '0'
  if state == 'choosing' then  -- only the user moves such a job on, and there are many
    close(id)
    stop_sharing(id, state, now)
    return
  end
  open(id, now)
  if state == 'queued' then
    -- a job that has waited for another one in vain keeps its turn
    if not has(id, 'waits_for') then
      redis.call('ZADD', QUEUE:format(account), tonumber(get(id, 'picked_at') or '') or now, id)
    end
  elseif in_flight[state] then
    if not in_flight[was] then redis.call('ZADD', FLIGHT:format(account), now, id) end
    if state ~= 'delivering' and get(id, 'create_started_at') ~= '0' then claim_free_split(id) end
  elseif state == 'failed' then
    add_to_last(FAILED_JOBS, id, now)
    if get(id, 'failure_code') == 'timeout' then redis.call('ZADD', LATE, now, id) end
    if undelivered[get(id, 'failure_code') or ''] then
      redis.call('ZADD', OBSTRUCTED:format(chat), now, id)
      redis.call('EXPIRE', OBSTRUCTED:format(chat), JOB_LIFETIME_S)
    end
  elseif state == 'delivered' then
    add_to_last(DELIVERED, id, now)
    if is_incomplete(id) then add_to_last(INCOMPLETE, id, now) end
  end
  if state == 'delivering' then
    redis.call('ZADD', RECEIVING:format(chat), now, id)
    redis.call('EXPIRE', RECEIVING:format(chat), RECEIVING_LIFETIME_S)
  end
  stop_sharing(id, state, now)
end

-- lets a job make its own call
local function begin_alone(id, now)
  claim_split(id)
  enter(id, 'submitting', now)
  return 'submitting'
end

-- lets a job share another one's call, or make its own; returns what it became
local function begin(id, now)
  local how = share(id, now)
  if how then return how end
  if get(id, 'must_share') == '1' then
    set(id, unpack(over_limit))
    enter(id, 'failed', now)
    return 'failed'
  end
  return begin_alone(id, now)
end

local function clear_failure(id)
  set(id, 'failure', 'null', 'failure_code', '', 'failure_charged', '')
end

-- corrects a job that has ended as charged: its message is shown again
local function give_back_late(id, now)
  give_back(id)
  local code = get(id, 'failure_code') or ''
  local is_corrected = code ~= '' and get(id, 'failure_charged') ~= 'false'
    and get(id, 'is_other_charged') ~= 'true'
  if is_corrected then
    set(id, 'failure', cjson.encode({code = code, charged = false}), 'failure_charged', 'false')
  end
  -- the message of a job that was tried again shows the new job
  if (is_corrected or get(id, 'state') == 'cancelled') and not get(id, 'retried_as') then open(id, now) end
end

-- whether the task may be the job's: of an order that was asked for again, two calls may have been accepted
local function is_own_task(id, task)
  local known = get(id, 'task_id')
  return known == '' or known == task or (get(id, 'asked_again_by') or '') ~= ''
end

local function contains(list, task)
  return string.find((list or '') .. '\\n', '\\n' .. task .. '\\n', 1, true) ~= nil
end

-- notes a further task of the job and what it cost, once; `is_refunded`: its credits came back
local function count_other_task(id, task, is_refunded)
  if get(id, 'task_id') == task then return end
  -- a refund belongs to the day on which the task was counted
  local day = get(id, 'day:' .. task) or get(id, 'account_day') or ''
  set(id, 'day:' .. task, day)
  local price, by = price_of(id, task), 0
  local others = get(id, 'other_task_ids') or ''
  if not contains(others, task) then
    set(id, 'other_task_ids', others .. '\\n' .. task)
    -- the price that is held is this one's where the job has the late stems of a task that it replaced
    if not was_replaced(id, get(id, 'task_id')) then by = price end
  end
  if is_refunded and not get(id, 'refunded:' .. task) then
    set(id, 'refunded:' .. task, '1')
    by = by - price
  end
  if by == 0 or (get(id, 'charge') or '') == '' then return end
  local spent = SPENT:format(get(id, 'account'), day)
  give_back_price(spent, id, -by)
  redis.call('EXPIRE', spent, SPENT_LIFETIME_S)
end

-- how many create calls after the first were not refused
local function further_calls(id) return tonumber(get(id, 'further_calls') or '0') end

-- whether another create call of the job, beside the task's, may still bring stems
local function is_other_call_open(id, task)
  local failed = get(id, 'failed_task_ids') or ''
  local _, count = string.gsub(failed, '\\n', '')
  if contains(failed, task) then count = count - 1 end
  return further_calls(id) > count
end

-- whether all create calls that were not refused have failed, so that a held price is for a call to be made
local function have_calls_failed(id)
  local _, count = string.gsub(get(id, 'failed_task_ids') or '', '\\n', '')
  return count > further_calls(id)
end

-- notes that a task has failed while another call may still bring stems: the job waits for that call
local function note_failed_call(id, task, is_refunded, now)
  local failed = get(id, 'failed_task_ids') or ''
  if contains(failed, task) then return end
  set(id, 'failed_task_ids', failed .. '\\n' .. task)
  if not is_refunded then set(id, 'is_other_charged', 'true') end
  local is_awaited, awaited = get(id, 'task_id') == task, ''
  if is_awaited then
    local others = get(id, 'other_task_ids') or ''
    for other in string.gmatch(others, '[^\\n]+') do
      if not contains(failed, other) then awaited = other end
    end
    if awaited ~= '' then
      -- its price was counted beside that of this one
      await_task(id, awaited, true)
      set(id, 'other_task_ids', others .. '\\n' .. task)
    else
      set(id, 'task_id', '')
    end
  end
  if get(id, 'task_id') == '' then await_call(id, open_call(id, '')) end
  count_other_task(id, task, is_refunded)
  if is_awaited and awaited == '' and get(id, 'state') == 'separating' then
    -- the source was fetched for this task; the other call's answer is lost
    set(id, 'answer_lost_at', now, 'source_fetched_at', '0')
    enter(id, 'submitting', now)
  end
end
"""
)
