"""The scripts for a job's record in any state: moving, writing, counting, listing and deleting."""

MOVE = """
-- KEYS: job
-- ARGV: id, now, allowed states between commas, state, what becomes of credits, expected start ('': any),
-- field, value, …
local state = get(ARGV[1], 'state')
if not state or not string.find(ARGV[3], ',' .. state .. ',', 1, true) then return 0 end
if ARGV[6] ~= '' and get(ARGV[1], 'starts_at') ~= ARGV[6] then return 0 end
-- the caller may have read the job before its create call was begun, or before that call was refused
local is_uncharged = get(ARGV[1], 'create_started_at') == '0'
if state == 'submitting' and ARGV[4] == 'failed' and is_uncharged ~= (ARGV[5] == 'return') then return 0 end
if #ARGV > 6 then set(ARGV[1], unpack(ARGV, 7)) end
enter(ARGV[1], ARGV[4], ARGV[2])
local credits = ARGV[5]
if credits == 'cancel' then credits = is_uncharged and 'return' or 'settle' end
if state == 'submitting' and credits == 'settle' and have_calls_failed(ARGV[1]) then credits = 'return' end
if credits == 'settle' then take(ARGV[1], 'settled') elseif credits == 'return' then give_back(ARGV[1]) end
return 1
"""

WRITE = """
-- KEYS: hash, job, sent, packed   ARGV: lifetime, field, value, …
local left = redis.call('TTL', KEYS[2])
if left == -2 then return 0 end  -- a job that has expired or was deleted stays deleted
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
if left < ARGV[1] - DAY_S then  -- the keys of a job, and those that lead to it, live as long as the job
  local once, account = unpack(redis.call('HMGET', KEYS[2], 'once', 'account'))
  for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[1]) end
  if once then redis.call('EXPIRE', once, ARGV[1]) end
  if account then redis.call('EXPIRE', OF_ACCOUNT:format(account), ARGV[1]) end
elseif KEYS[1] ~= KEYS[2] then
  redis.call('EXPIRE', KEYS[1], left)
end
return 1
"""

COUNT = """
-- KEYS: job   ARGV: field, by, caller
local by = ARGV[1] .. ':by'
local state, caller, count = unpack(redis.call('HMGET', KEYS[1], 'state', by, ARGV[1]))
if not state then return 0 end
if caller == ARGV[3] then return tonumber(count) end
count = tonumber(count or 0) + ARGV[2]
redis.call('HSET', KEYS[1], by, ARGV[3], ARGV[1], count)
return count
"""

BEGIN_DELIVERY = """
-- KEYS: job   ARGV: the run's token, the fields of the owner and of the counts of runs and of broken runs
-- returns the counts; nothing if the job is not being delivered
local state, owner, runs, broken = unpack(redis.call('HMGET', KEYS[1], 'state', ARGV[2], ARGV[3], ARGV[4]))
if state ~= 'delivering' then return {} end
runs, broken = tonumber(runs or 0), tonumber(broken or 0)
if owner ~= ARGV[1] then
  runs, broken = runs + 1, broken + 1
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[1], ARGV[3], runs, ARGV[4], broken)
end
return {runs, broken}
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
local state = get(ARGV[1], 'state')
if not state or state == 'delivered' or state == 'failed' or state == 'cancelled' then close(ARGV[1]) end
"""

REOPEN = """
-- KEYS: job   ARGV: id, now
if redis.call('EXISTS', KEYS[1]) == 1 then open(ARGV[1], ARGV[2]) end
"""

MARK_RETRIED = """
-- KEYS: job   ARGV: id, the new job's id
-- a job with a result that came meanwhile is being delivered
if get(ARGV[1], 'state') ~= 'failed' then return 0 end
set(ARGV[1], 'retried_as', ARGV[2])
close(ARGV[1])
redis.call('ZREM', FAILED_JOBS, ARGV[1])
redis.call('ZREM', OBSTRUCTED:format(get(ARGV[1], 'chat_id')), ARGV[1])
return 1
"""

SENDING = """
-- KEYS: sending   ARGV: the holder's token, seconds for which the holder keeps the lock; 0 releases it
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
"""

FORGET = """
-- KEYS: job, sent, packed, desk   ARGV: id, now, the state that it must be in ('': any)
if not get(ARGV[1], 'state') then return 0 end
if ARGV[3] ~= '' and get(ARGV[1], 'state') ~= ARGV[3] then return 0 end
if get(ARGV[1], 'create_started_at') == '0' then give_back(ARGV[1]) end
local task = get(ARGV[1], 'task_id') or ''
-- the URLs of a success may come after it
local is_awaited = get(ARGV[1], 'has_stems') ~= '1'
  and ((get(ARGV[1], 'result') or 'null') == 'null' or get(ARGV[1], 'is_success') == '1')
if is_awaited and has_charge(ARGV[1]) then  -- its credits may still come back
  redis.call('SET', SPENT_OF:format(ARGV[1]), spent_key(ARGV[1]), 'EX', SPENT_LIFETIME_S)
end
local calls = counted_calls(ARGV[1])
-- the ledger is still to say what came of them
if calls ~= '' and (is_awaited or open_call(ARGV[1], '')) then
  redis.call('SET', CALLS_OF:format(ARGV[1]), calls, 'EX', SPENT_LIFETIME_S)
end
local has_call = get(ARGV[1], 'create_started_at') ~= '0' and is_awaited and get(ARGV[1], 'state') ~= 'failed'
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
for call in string.gmatch(get(ARGV[1], 'calls') or '', '[^,]+') do
  redis.call('DEL', CALL_SOURCE:format(call))
end
redis.call('DEL', get(ARGV[1], 'once') or KEYS[1], KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return 1
"""
