"""The atomic steps of a job as Lua scripts.

Each is run behind `PRELUDE`. Redis may run a script twice when a connection breaks before its answer arrives:
the second run changes nothing. Scripts build the keys that depend on a job, which no Redis cluster allows.
"""

from collections.abc import Iterable

from stemdrop.domain.failures import OVER_LIMIT
from stemdrop.domain.job_fields import encode
from stemdrop.domain.jobs import UNDELIVERED
from stemdrop.observability.metric_definitions import ENDED, FAILED, NO_MODE, OTHER, STATE_SECONDS
from stemdrop.storage import keys
from stemdrop.storage.split_sharing import SHARING

_KEY_NAMES = (
    *("JOB", "TASK", "OPEN", "RECOVERY_DUE", "PROGRESS_DUE", "LATE", "DELIVERED", "INCOMPLETE"),
    *("OF_ACCOUNT", "FLIGHT", "QUEUE", "SPENT", "RECEIVING", "COUNTS", "COUNTS_LATELY"),
    *("SPLIT", "WAITING", "OBSTRUCTED"),
)
# Lua constants; a key that depends on something is made by `NAME:format(…)`.
_KEYS = "".join(f"local {name} = '{getattr(keys, name).replace('{}', '%s')}'\n" for name in _KEY_NAMES)
_KEYS += f"local FAILED_JOBS = '{keys.FAILED}'\n"
_KEYS += f"local RECEIVING_LIFETIME_S = {keys.RECEIVING_LIFETIME_S}\n"
_KEYS += f"local SPENT_LIFETIME_S = {keys.SPENT_LIFETIME_S}\n"
_KEYS += f"local SPLIT_LIFETIME_S = {keys.SPLIT_LIFETIME_S}\n"
_KEYS += f"local JOB_LIFETIME_S = {keys.JOB_LIFETIME_S}\n"
_OVER_LIMIT = ", ".join(f"'{text}'" for pair in encode({"failure": OVER_LIMIT}).items() for text in pair)
_KEYS += f"local over_limit = {{{_OVER_LIMIT}}}\n"


def _lua_set(values: Iterable[str]) -> str:
    return "{" + ", ".join(f"['{value}'] = true" for value in values) + "}"


# A metric that cannot be counted must not stop the step (`pcall`).
_TALLY = f"""
local undelivered = {_lua_set(sorted(UNDELIVERED))}
local known_codes = {_lua_set(FAILED.labels[0].values)}
local bounds = {{{", ".join(f"'{bound:g}'" for bound in STATE_SECONDS.buckets)}}}

local function tally(field, by, now)
  local lately = COUNTS_LATELY:format(math.floor(now / {keys.COUNTS_SLOT_S}))
  redis.pcall('HINCRBY', COUNTS, field, by)
  redis.pcall('HINCRBY', lately, field, by)
  redis.pcall('EXPIRE', lately, {keys.COUNTS_LATELY_LIFETIME_S})
end

-- counts how long the job was in the state that it leaves, and how it ends; `was`: that state and its start
local function tally_move(id, was, state, now)
  local before, since = was[1], tonumber(was[2] or '')
  now = tonumber(now)
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

PRELUDE = (
    _KEYS
    + """
local function get(id, field) return redis.call('HGET', JOB:format(id), field) end
local function set(id, ...) redis.call('HSET', JOB:format(id), ...) end
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

local function open(id, now)
  for _, key in ipairs(open_lists) do redis.call('ZADD', key, now, id) end
end

local function close(id)
  for _, key in ipairs(open_lists) do redis.call('ZREM', key, id) end
end
"""
    + _TALLY
    + """
-- a day's account maps job to credits; `charge` says whether the price of one call is among them
local function spent_key(id)
  return SPENT:format(get(id, 'account'), get(id, 'account_day'))
end

local function take(id, charge)
  local price, before = tonumber(get(id, 'price') or '0'), get(id, 'charge')
  if price == 0 or before == charge then return end
  if before ~= 'held' and before ~= 'settled' then redis.call('HINCRBY', spent_key(id), id, price) end
  redis.call('EXPIRE', spent_key(id), SPENT_LIFETIME_S)
  set(id, 'charge', charge)
end

local function give_back(id)
  local charge = get(id, 'charge')
  if charge ~= 'held' and charge ~= 'settled' then return end
  -- what another call has cost stays spent
  local left = redis.call('HINCRBY', spent_key(id), id, -tonumber(get(id, 'price') or '0'))
  if left <= 0 then redis.call('HDEL', spent_key(id), id) end
  set(id, 'charge', 'returned')
end

local enter
"""
    + SHARING
    + """
-- sets a job's state and puts it into the lists of that state
enter = function(id, state, now)
  local was = redis.call('HMGET', JOB:format(id), 'state', 'moved_at')
  set(id, 'state', state, 'moved_at', now, 'starts_at', '0')
  -- after the first write: a full Redis refuses that, and then nothing has happened
  tally_move(id, was, state, now)
  leave_payer(id, state)
  local account, receiving = get(id, 'account') or '0', RECEIVING:format(get(id, 'chat_id') or '0')
  local queue, flight = QUEUE:format(account), FLIGHT:format(account)
  local obstructed = OBSTRUCTED:format(get(id, 'chat_id') or '0')
  for _, key in ipairs({queue, flight, FAILED_JOBS, LATE, DELIVERED, INCOMPLETE, receiving, obstructed}) do
    redis.call('ZREM', key, id)
  end
  if state == 'choosing' then  -- only the user moves such a job on, and there are many
    close(id)
    stop_sharing(id, state, now)
    return
  end
  open(id, now)
  if state == 'queued' then
    -- a job that has waited for another one in vain keeps its turn
    if not has(id, 'waits_for') then
      redis.call('ZADD', queue, tonumber(get(id, 'picked_at') or '') or now, id)
    end
  elseif state == 'submitting' or state == 'separating' or state == 'delivering' then
    redis.call('ZADD', flight, now, id)
    if state ~= 'delivering' and get(id, 'create_started_at') ~= '0' then claim_free_split(id) end
  elseif state == 'failed' then
    add_to_last(FAILED_JOBS, id, now)
    if get(id, 'failure_code') == 'timeout' then redis.call('ZADD', LATE, now, id) end
    if undelivered[get(id, 'failure_code') or ''] then
      redis.call('ZADD', obstructed, now, id)
      redis.call('EXPIRE', obstructed, JOB_LIFETIME_S)
    end
  elseif state == 'delivered' then
    add_to_last(DELIVERED, id, now)
    if is_incomplete(id) then add_to_last(INCOMPLETE, id, now) end
  end
  if state == 'delivering' then
    redis.call('ZADD', receiving, now, id)
    redis.call('EXPIRE', receiving, RECEIVING_LIFETIME_S)
  end
  stop_sharing(id, state, now)
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
  claim_split(id)
  enter(id, 'submitting', now)
  return 'submitting'
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
  local price, by = tonumber(get(id, 'price') or '0'), 0
  local others = get(id, 'other_task_ids') or ''
  if not contains(others, task) then
    set(id, 'other_task_ids', others .. '\\n' .. task)
    by = price
  end
  if is_refunded and redis.call('HSETNX', JOB:format(id), 'refunded:' .. task, 1) == 1 then
    by = by - price
  end
  if by == 0 or (get(id, 'charge') or '') == '' then return end
  redis.call('HINCRBY', spent_key(id), id, by)
  redis.call('EXPIRE', spent_key(id), SPENT_LIFETIME_S)
end

-- whether another create call of the job, beside the task's, may still bring stems
local function is_other_call_open(id, task)
  local failed = get(id, 'failed_task_ids') or ''
  local _, count = string.gsub(failed, '\\n', '')
  if contains(failed, task) then count = count - 1 end
  return tonumber(get(id, 'further_calls') or '0') > count
end

-- whether all create calls that were not refused have failed, so that a held price is for a call to be made
local function have_calls_failed(id)
  local _, count = string.gsub(get(id, 'failed_task_ids') or '', '\\n', '')
  return count > tonumber(get(id, 'further_calls') or '0')
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
    set(id, 'task_id', awaited)
    -- the price of the task that is awaited now was counted beside that of this one
    if awaited ~= '' then set(id, 'other_task_ids', others .. '\\n' .. task) end
  end
  count_other_task(id, task, is_refunded)
  if is_awaited and awaited == '' and get(id, 'state') == 'separating' then
    -- the source was fetched for this task; the other call's answer is lost
    set(id, 'answer_lost_at', now, 'source_fetched_at', '0')
    enter(id, 'submitting', now)
  end
end
"""
)

CREATE = """
-- KEYS: once, job, of_account   ARGV: id, now, lifetime, state, field, value, …
local holder = redis.call('GET', KEYS[1])
if holder then return holder end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('HSET', KEYS[2], 'once', KEYS[1], unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
-- jobs of that age have expired, unless something was written to them since
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. (ARGV[2] - ARGV[3]))) do
  if not get(id, 'state') then redis.call('ZREM', KEYS[3], id) end
end
redis.call('EXPIRE', KEYS[3], ARGV[3])
if ARGV[4] ~= 'choosing' then enter(ARGV[1], ARGV[4], ARGV[2]) end
return ARGV[1]
"""

PICK = """
-- KEYS: job, spent, flight, queue
-- ARGV: id, now, limit, most in flight, price, split id, expected start ('': any), field, value, …
-- returns the outcome and the credits spent today
local spent = 0
for _, credits in ipairs(redis.call('HVALS', KEYS[2])) do spent = spent + tonumber(credits) end
if redis.call('HGET', KEYS[1], 'state') ~= 'choosing' then return {'late', spent} end
if ARGV[7] ~= '' and redis.call('HGET', KEYS[1], 'starts_at') ~= ARGV[7] then return {'late', spent} end
local limit, price = tonumber(ARGV[3]), tonumber(ARGV[5])
local _, how = find_payer(ARGV[1], ARGV[6])
local is_over = limit > 0 and spent + price > limit
if is_over and not how then return {'over', spent} end
-- beyond the day's credits a job may share another one's call, but not make its own
redis.call('HSET', KEYS[1], 'price', ARGV[5], 'split_id', ARGV[6], 'paid_by', '',
  'must_share', is_over and '1' or '', unpack(ARGV, 8))
if is_over or how == 'delivering' then price = 0 else take(ARGV[1], 'held') end
local busy = redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[4]) or redis.call('ZCARD', KEYS[4]) > 0
if busy and not how then
  enter(ARGV[1], 'queued', ARGV[2])
  return {'queued', spent + price}
end
return {begin(ARGV[1], ARGV[2]), spent + price}
"""

UNDO = """
-- KEYS: job
-- the song no longer starts by itself
if redis.call('HGET', KEYS[1], 'state') ~= 'choosing' then return 0 end
redis.call('HSET', KEYS[1], 'starts_at', '0')
return 1
"""

PROMOTE = """
-- KEYS: flight, queue   ARGV: now, most in flight
-- returns the ids of the jobs that may be submitted now; recovery finds those that share another one's call
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if not get(id, 'state') then redis.call('ZREM', KEYS[1], id) end
end
local begun = {}
while redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) do
  local first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not first then break end
  redis.call('ZREM', KEYS[2], first)
  if get(first, 'state') == 'queued' and begin(first, ARGV[1]) == 'submitting' then
    begun[#begun + 1] = first
  end
end
return begun
"""

MOVE = """
-- KEYS: job
-- ARGV: id, now, allowed states between commas, state, what becomes of credits, expected start ('': any),
-- field, value, …
local state = redis.call('HGET', KEYS[1], 'state')
if not state or not string.find(ARGV[3], ',' .. state .. ',', 1, true) then return 0 end
if ARGV[6] ~= '' and redis.call('HGET', KEYS[1], 'starts_at') ~= ARGV[6] then return 0 end
-- the caller may have read the job before its create call was begun, or before that call was refused
local is_uncharged = redis.call('HGET', KEYS[1], 'create_started_at') == '0'
if state == 'submitting' and ARGV[4] == 'failed' and is_uncharged ~= (ARGV[5] == 'return') then return 0 end
if #ARGV > 6 then redis.call('HSET', KEYS[1], unpack(ARGV, 7)) end
enter(ARGV[1], ARGV[4], ARGV[2])
local credits = ARGV[5]
if credits == 'cancel' then credits = is_uncharged and 'return' or 'settle' end
if state == 'submitting' and credits == 'settle' and have_calls_failed(ARGV[1]) then credits = 'return' end
if credits == 'settle' then take(ARGV[1], 'settled') elseif credits == 'return' then give_back(ARGV[1]) end
return 1
"""

WRITE = """
-- KEYS: job, hash   ARGV: lifetime, field, value, …
-- a job that has expired or was deleted stays deleted
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[2], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[2], ARGV[1])
if KEYS[2] == KEYS[1] then  -- the keys that lead to a job live as long as the job
  local once, account = unpack(redis.call('HMGET', KEYS[1], 'once', 'account'))
  if once then redis.call('EXPIRE', once, ARGV[1]) end
  if account then redis.call('EXPIRE', OF_ACCOUNT:format(account), ARGV[1]) end
end
return 1
"""

COUNT = """
-- KEYS: job   ARGV: field, by, caller
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local by = ARGV[1] .. ':by'
if redis.call('HGET', KEYS[1], by) == ARGV[3] then return tonumber(redis.call('HGET', KEYS[1], ARGV[1])) end
redis.call('HSET', KEYS[1], by, ARGV[3])
return redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
"""

MIGRATE = """
-- KEYS: job   ARGV: new chat id, id
local old = redis.call('HGET', KEYS[1], 'chat_id')
if not old or old == ARGV[1] then return 0 end
-- the numbers of the old chat's messages name other messages in the new chat
redis.call('HSET', KEYS[1], 'chat_id', ARGV[1], 'token_chat_id', old, 'message_id', 0, 'source_message_id', 0,
  'replaced_message_id', 0)
local moved_at = redis.call('ZSCORE', OBSTRUCTED:format(old), ARGV[2])
if moved_at then
  redis.call('ZREM', OBSTRUCTED:format(old), ARGV[2])
  redis.call('ZADD', OBSTRUCTED:format(ARGV[1]), moved_at, ARGV[2])
  redis.call('EXPIRE', OBSTRUCTED:format(ARGV[1]), JOB_LIFETIME_S)
end
return 1
"""

CLOSE = """
-- KEYS: job   ARGV: id
-- a job that has moved on since its end was shown stays open
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'delivered' or state == 'failed' or state == 'cancelled' then close(ARGV[1]) end
"""

REOPEN = """
-- KEYS: job   ARGV: id, now
if redis.call('EXISTS', KEYS[1]) == 1 then open(ARGV[1], ARGV[2]) end
"""

CLAIM = """
-- KEYS: job, of_account before, of_account   ARGV: id, user id, lifetime
if redis.call('HGET', KEYS[1], 'user_id') ~= '0' then return 0 end
redis.call('HSET', KEYS[1], 'user_id', ARGV[2], 'account', ARGV[2])
local created = redis.call('ZSCORE', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], created or redis.call('HGET', KEYS[1], 'created_at'), ARGV[1])
redis.call('EXPIRE', KEYS[3], ARGV[3])
return 1
"""

SENDING = """
-- KEYS: sending   ARGV: the holder's token, seconds for which the holder keeps the lock; 0 releases it
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
"""

BEGIN_CREATE = """
-- KEYS: job   ARGV: now, caller
if redis.call('HGET', KEYS[1], 'state') ~= 'submitting' then return 0 end
local caller = redis.call('HGET', KEYS[1], 'create_started_by')
if caller == ARGV[2] then return 1 end  -- the same call, repeated after a broken connection
if redis.call('HGET', KEYS[1], 'is_asking_again') == 'true' then
  redis.call('HSET', KEYS[1], 'is_asking_again', 'false')
  if (redis.call('HGET', KEYS[1], 'source_fetched_at') or '0') ~= '0' then  -- the earlier call was accepted
    redis.call('HSET', KEYS[1], 'answer_lost_at', ARGV[1])
    return 0
  end
  redis.call('HINCRBY', KEYS[1], 'further_calls', 1)
elseif redis.call('HGET', KEYS[1], 'create_started_at') ~= '0' then
  return 0
end
redis.call('HSET', KEYS[1], 'create_started_at', ARGV[1], 'create_started_by', ARGV[2],
  'answer_lost_at', '0', 'source_fetched_at', '0')
return 1
"""

LOSE_ANSWER = """
-- KEYS: job   ARGV: now, the caller of BEGIN_CREATE
local state, started, caller, lost, again = unpack(redis.call('HMGET', KEYS[1],
  'state', 'create_started_at', 'create_started_by', 'answer_lost_at', 'is_asking_again'))
if state ~= 'submitting' or started == '0' or again == 'true' then return 0 end
if caller ~= ARGV[2] then return 0 end  -- a later call was begun, which may still be answered
if (lost or '0') == '0' then redis.call('HSET', KEYS[1], 'answer_lost_at', ARGV[1]) end
return 1
"""

ASK_AGAIN = """
-- KEYS: job   ARGV: id, now, tap, the create call that is given up: when it began, the field of its runs
if redis.call('HGET', KEYS[1], 'asked_again_by') == ARGV[3] then return 1 end  -- the same tap, handled again
local state, started, lost, fetched = unpack(redis.call(
  'HMGET', KEYS[1], 'state', 'create_started_at', 'answer_lost_at', 'source_fetched_at'))
local is_lost = (lost or '0') ~= '0' and (fetched or '0') == '0'
if state ~= 'submitting' or started ~= ARGV[4] or not is_lost then return 0 end
redis.call('HSET', KEYS[1], 'asked_again_by', ARGV[3], 'is_asking_again', 'true', 'answer_lost_at', '0',
  ARGV[5], '0')
redis.call('ZADD', RECOVERY_DUE, 'XX', ARGV[2], ARGV[1])
return 1
"""

NOT_ACCEPTED = """
-- KEYS: job, spent   ARGV: id, now, the caller of BEGIN_CREATE ('': the last)
local state = redis.call('HGET', KEYS[1], 'state')
if not state then  -- the job was deleted meanwhile, which kept its credits held
  redis.call('HDEL', KEYS[2], ARGV[1])
  release(ARGV[1], ARGV[2])
  return
end
local last = redis.call('HGET', KEYS[1], 'create_started_by') or ''
local caller = ARGV[3] ~= '' and ARGV[3] or last
if redis.call('HSETNX', KEYS[1], 'refused:' .. caller, 1) == 0 then return end
if redis.call('HINCRBY', KEYS[1], 'further_calls', -1) >= 0 then  -- another may have been accepted
  if state == 'cancelled' or state == 'failed' then
    if have_calls_failed(ARGV[1]) then
      give_back_late(ARGV[1], ARGV[2])
      stop_sharing(ARGV[1], 'failed', ARGV[2])
    end
  elseif caller == last or have_calls_failed(ARGV[1]) then
    set(ARGV[1], 'is_asking_again', 'true', 'source_fetched_at', '0')
    redis.call('ZADD', RECOVERY_DUE, 'XX', ARGV[2], ARGV[1])
  end
  return
end
set(ARGV[1], 'create_started_at', '0', 'further_calls', '0', 'is_asking_again', 'false')
if state == 'submitting' then redis.call('ZADD', RECOVERY_DUE, 'XX', ARGV[2], ARGV[1]) end
if state == 'cancelled' or state == 'failed' then
  give_back_late(ARGV[1], ARGV[2])
  stop_sharing(ARGV[1], state, ARGV[2])
end
"""

ACCEPT = """
-- KEYS: job, task   ARGV: id, task_id, now, lifetime
local known = redis.call('HGET', KEYS[1], 'task_id')
if not known then  -- it was deleted during the call
  hand_over(ARGV[1], ARGV[2], ARGV[3])
  return 'unknown'
end
local owner = redis.call('GET', KEYS[2])
if not is_own_task(ARGV[1], ARGV[2]) or (owner and owner ~= ARGV[1]) then return 'foreign' end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[4])
-- its failure was quicker, and another call is waited for
if contains(get(ARGV[1], 'failed_task_ids'), ARGV[2]) then
  if get(ARGV[1], 'state') == 'submitting' then
    set(ARGV[1], 'answer_lost_at', ARGV[3], 'source_fetched_at', '0')
  end
  return 'repeated'
end
if known == '' then redis.call('HSET', KEYS[1], 'task_id', ARGV[2]) end
-- an earlier callback may have said that the credits were given back
if get(ARGV[1], 'charge') == 'held' then take(ARGV[1], 'settled') end
count_other_task(ARGV[1], ARGV[2], false)
local state = get(ARGV[1], 'state')
-- the answer was taken for lost, and has come after all, unless a callback has told the end meanwhile
local was_lost = state == 'failed' and get(ARGV[1], 'failure_code') == 'lost'
  and get(ARGV[1], 'charge') ~= 'returned' and get(ARGV[1], 'failure_charged') ~= 'false'
  and not get(ARGV[1], 'retried_as')
if state ~= 'submitting' and not was_lost then return 'repeated' end
clear_failure(ARGV[1])
enter(ARGV[1], 'separating', ARGV[3])
return 'stored'
"""

MARK_RETRIED = """
-- KEYS: job   ARGV: id, the new job's id
-- a job with a result that came meanwhile is being delivered
if redis.call('HGET', KEYS[1], 'state') ~= 'failed' then return 0 end
redis.call('HSET', KEYS[1], 'retried_as', ARGV[2])
close(ARGV[1])
redis.call('ZREM', FAILED_JOBS, ARGV[1])
redis.call('ZREM', LATE, ARGV[1])
return 1
"""

RECEIVE = """
-- KEYS: job, task   ARGV: id, chat_id, task_id, now, lifetime, result, 1 if it has stems, 1 if success,
-- 1 if refunded
local state = redis.call('HGET', KEYS[1], 'state')
if not state then
  if ARGV[8] ~= '1' then release(ARGV[1], ARGV[4]) end
  -- it was deleted: the result is for the job that has its task now
  local heir = hand_over(ARGV[1], ARGV[3], ARGV[4])
  if not heir then return 'unknown' end
  ARGV[1], ARGV[2], KEYS[1] = heir, get(heir, 'chat_id'), JOB:format(heir)
  state = get(heir, 'state')
end
if redis.call('HGET', KEYS[1], 'chat_id') ~= ARGV[2] and
   redis.call('HGET', KEYS[1], 'token_chat_id') ~= ARGV[2] then return 'foreign' end
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[1] then return 'foreign' end
local known = redis.call('HGET', KEYS[1], 'task_id')
if not is_own_task(ARGV[1], ARGV[3]) then return 'foreign' end
-- there is no task before the create call
if known == '' and redis.call('HGET', KEYS[1], 'create_started_at') == '0' then return 'foreign' end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[5])
-- this failure is known, and what the job waits for now is another call
if ARGV[8] ~= '1' and ARGV[9] ~= '1' and contains(get(ARGV[1], 'failed_task_ids'), ARGV[3]) then
  return 'repeated'
end
local has_stems_to_send = state == 'delivering' or state == 'delivered'
if ARGV[8] ~= '1' and not has_stems_to_send and is_other_call_open(ARGV[1], ARGV[3]) then
  note_failed_call(ARGV[1], ARGV[3], ARGV[9] == '1', ARGV[4])
  return 'repeated'
end
if known == '' then redis.call('HSET', KEYS[1], 'task_id', ARGV[3]) end
local is_other = known ~= '' and known ~= ARGV[3]
if is_other then
  count_other_task(ARGV[1], ARGV[3], ARGV[9] == '1')
  if ARGV[8] ~= '1' then return 'repeated' end  -- the task that is waited for may bring stems
elseif ARGV[8] == '1' then
  take(ARGV[1], 'settled')
end
local is_waiting = state == 'submitting' or state == 'separating'
-- stems that come after a failure are paid for and are delivered, unless they came before
local has_failed = state == 'failed' and not get(ARGV[1], 'retried_as')
local is_late = ARGV[7] == '1' and get(ARGV[1], 'has_stems') ~= '1' and (has_failed or state == 'delivering')
-- no task looks at the result of a job that has ended
if ARGV[9] == '1' and (state == 'failed' or state == 'cancelled') then give_back_late(ARGV[1], ARGV[4]) end
-- what a cancelled job has paid for is kept for its user, and for the next who picks the same; a success
-- without stems is no end, since its URLs may come after it
local is_end = ARGV[7] == '1' or ARGV[8] ~= '1'
local is_kept = state == 'cancelled' and get(ARGV[1], 'has_stems') ~= '1' and is_end
if not is_waiting and not is_late and not is_kept then return 'repeated' end
redis.call('HSET', KEYS[1], 'result', ARGV[6], 'has_stems', ARGV[7], 'is_success', ARGV[8],
  'task_id', ARGV[3])
if is_other then set(ARGV[1], 'other_task_ids', get(ARGV[1], 'other_task_ids') .. '\\n' .. known) end
if not is_kept then
  clear_failure(ARGV[1])
  enter(ARGV[1], 'delivering', ARGV[4])
end
if ARGV[7] == '1' then
  share_result(ARGV[1], ARGV[4])
elseif is_kept then
  stop_sharing(ARGV[1], 'failed', ARGV[4])
end
return is_kept and 'repeated' or 'stored'
"""

FORGET = """
-- KEYS: job, sent, packed   ARGV: id, now, the state that it must be in ('': any)
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[3] ~= '' and get(ARGV[1], 'state') ~= ARGV[3] then return 0 end
if get(ARGV[1], 'create_started_at') == '0' then give_back(ARGV[1]) end
local task = get(ARGV[1], 'task_id') or ''
-- the URLs of a success may come after it
local is_awaited = (get(ARGV[1], 'result') or 'null') == 'null' or get(ARGV[1], 'is_success') == '1'
local has_call = get(ARGV[1], 'create_started_at') ~= '0' and get(ARGV[1], 'has_stems') ~= '1'
  and is_awaited and get(ARGV[1], 'state') ~= 'failed'
if has_call and has(ARGV[1], 'split_id') then
  -- the call stays paid for; while its answer is awaited, the jobs that wait for it wait on
  local key = SPLIT:format(get(ARGV[1], 'split_id'))
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
  if task ~= '' then hand_over(ARGV[1], task, ARGV[2]) end
  local fetched = get(ARGV[1], 'source_fetched_at') or '0'
  for _, other in ipairs(waiting_for(ARGV[1])) do
    set(other, 'moved_at', ARGV[2], 'source_fetched_at', fetched)
  end
  set(ARGV[1], 'split_id', '')
end
set(ARGV[1], 'paid_by', '')
enter(ARGV[1], 'choosing', ARGV[2])
redis.call('ZREM', OF_ACCOUNT:format(get(ARGV[1], 'account') or '0'), ARGV[1])
if redis.call('GET', TASK:format(task)) == ARGV[1] then redis.call('DEL', TASK:format(task)) end
for other in string.gmatch(get(ARGV[1], 'other_task_ids') or '', '[^\\n]+') do
  redis.call('DEL', TASK:format(other))
end
redis.call('DEL', get(ARGV[1], 'once') or KEYS[1], KEYS[1], KEYS[2], KEYS[3])
return 1
"""

RESUME = """
-- KEYS: job   ARGV: id, now
-- takes a cancelled job up again where its call is now; returns the state that it has
local state, started, task, result, again = unpack(redis.call('HMGET', KEYS[1],
  'state', 'create_started_at', 'task_id', 'result', 'is_asking_again'))
if state ~= 'cancelled' then return state or '' end
set(ARGV[1], 'cancelled_by', '""')
if started == '0' then
  state = 'choosing'
elseif (result or 'null') ~= 'null' then
  state = 'delivering'
elseif task ~= '' then
  state = 'separating'
else
  state = 'submitting'
  -- a further call would cost: its user may ask for it anew
  if again == 'true' then set(ARGV[1], 'is_asking_again', 'false', 'answer_lost_at', ARGV[2]) end
end
enter(ARGV[1], state, ARGV[2])
return state
"""

LEAVE = """
-- KEYS: job   ARGV: id, now, the job that it waits for
if get(ARGV[1], 'waits_for') ~= ARGV[3] then return 0 end
local key = SPLIT:format(get(ARGV[1], 'split_id'))
if redis.call('GET', key) == ARGV[3] then redis.call('DEL', key) end
leave_payer(ARGV[1], '')
enter(ARGV[1], 'queued', ARGV[2])
return 1
"""
