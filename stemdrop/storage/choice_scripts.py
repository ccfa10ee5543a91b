"""The scripts of a user's choices: creating a job, picking its mode, queueing and resuming it."""

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

CLAIM = """
-- KEYS: job, of_account before, of_account   ARGV: id, user id, lifetime
local owner = redis.call('HGET', KEYS[1], 'user_id')
if owner ~= '0' then return owner == ARGV[2] and 1 or 0 end
redis.call('HSET', KEYS[1], 'user_id', ARGV[2], 'account', ARGV[2])
local created = redis.call('ZSCORE', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], created or redis.call('HGET', KEYS[1], 'created_at'), ARGV[1])
redis.call('EXPIRE', KEYS[3], ARGV[3])
return 1
"""

PICK = """
-- KEYS: job, spent, flight, queue
-- ARGV: id, now, limit, most in flight, price, split id, expected start ('': any), '1' if it must be free,
-- field, value, …
-- returns the outcome and the credits spent today
local spent = sum_of(KEYS[2])
if get(ARGV[1], 'state') ~= 'choosing' then return {'late', spent} end
if ARGV[7] ~= '' and get(ARGV[1], 'starts_at') ~= ARGV[7] then return {'late', spent} end
local limit, price = tonumber(ARGV[3]), tonumber(ARGV[5])
local _, how = find_payer(ARGV[1], ARGV[6])
if ARGV[8] == '1' and how ~= 'delivering' then return {'dearer', spent} end
local is_over = limit > 0 and price > 0 and spent + price > limit
if is_over and not how then return {'over', spent} end
-- beyond the day's credits a job may share another one's call, but not make its own
set(ARGV[1], 'price', ARGV[5], 'split_id', ARGV[6], 'paid_by', '', 'day_limit', ARGV[3],
  'must_share', is_over and '1' or '', unpack(ARGV, 9))
if is_over or how == 'delivering' then price = 0 else take(ARGV[1], 'held') end
local busy = redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[4]) or redis.call('ZCARD', KEYS[4]) > 0
if busy and not how then
  enter(ARGV[1], 'queued', ARGV[2])
  return {'queued', spent + price}
end
return {(how and begin or begin_alone)(ARGV[1], ARGV[2]), spent + price}
"""

START_BY_ITSELF = """
-- KEYS: job   ARGV: field, value, …
if redis.call('HGET', KEYS[1], 'state') ~= 'choosing' then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
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

LEAVE = """
-- KEYS: job   ARGV: id, now, the job that it waits for
if get(ARGV[1], 'waits_for') ~= ARGV[3] then return 0 end
local key = SPLIT:format(get(ARGV[1], 'split_id'))
if redis.call('GET', key) == ARGV[3] then redis.call('DEL', key) end
leave_payer(ARGV[1], '')
enter(ARGV[1], 'queued', ARGV[2])
return 1
"""

RESUME = """
-- KEYS: job   ARGV: id, now
-- takes a cancelled job up again where its call is now; returns the state that it has
local state = get(ARGV[1], 'state')
if state ~= 'cancelled' then return state or '' end
set(ARGV[1], 'cancelled_by', '""')
if get(ARGV[1], 'create_started_at') == '0' then
  state = 'choosing'
elseif (get(ARGV[1], 'result') or 'null') ~= 'null' then
  state = 'delivering'
elseif get(ARGV[1], 'task_id') ~= '' then
  state = 'separating'
else
  state = 'submitting'
  -- a further call would cost: its user may ask for it anew
  if get(ARGV[1], 'is_asking_again') == 'true' then
    set(ARGV[1], 'is_asking_again', 'false', 'answer_lost_at', ARGV[2])
  end
end
enter(ARGV[1], state, ARGV[2])
return state
"""
