"""The atomic steps of a job, as Lua that Redis runs. What two processes may do at once is one of them.

Each may run twice, when a connection broke on its way back: the second run changes nothing. Key names are
those of `keys.py`; this Redis is no cluster, so a script may build them.
"""

from stemdrop.observability.metric_definitions import ENDED, FAILED, NO_MODE, OTHER, STATE_SECONDS
from stemdrop.storage.keys import COUNTS_LATELY_LIFETIME_S, COUNTS_SLOT_S


def _set(values: tuple[str, ...]) -> str:
    """As a table of Lua that has these."""
    return "{" + ", ".join(f"['{value}'] = true" for value in values) + "}"


# Counting must not break what is counted (`pcall`).
_TALLY = f"""
local known_codes = {_set(FAILED.labels[0].values)}
local bounds = {{{", ".join(f"'{bound:g}'" for bound in STATE_SECONDS.buckets)}}}

local function tally(field, by, now)
  local lately = 'stemdrop:counts:' .. math.floor(now / {COUNTS_SLOT_S})
  redis.pcall('HINCRBY', 'stemdrop:counts', field, by)
  redis.pcall('HINCRBY', lately, field, by)
  redis.pcall('EXPIRE', lately, {COUNTS_LATELY_LIFETIME_S})
end

-- how long the job was in the state that it leaves, and how it ends; `was`: that state, and since when
local function tally_move(id, was, state, now)
  local before, since = was[1], tonumber(was[2] or '')
  now = tonumber(now)
  if before == state or not before or not now then return end
  local mode = string.match(get(id, 'mode') or '', '^"([%w_]+)"$') or '{NO_MODE}'
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
    local code = string.match(get(id, 'failure') or '', '"code": "([^"]*)"')
    tally('{FAILED.name}|' .. (known_codes[code or ''] and code or '{OTHER}'), 1, now)
  elseif state == 'delivered' and (names_some(id, 'missing') or names_some(id, 'refused')) then
    outcome = 'incomplete'
  elseif state ~= 'delivered' and state ~= 'cancelled' then
    return
  end
  tally('{ENDED.name}|' .. outcome .. '|' .. mode, 1, now)
end
"""

_PRELUDE = (
    """
local function get(id, field) return redis.call('HGET', 'stemdrop:job:' .. id, field) end

local function list(name, id, now)
  redis.call('ZADD', 'stemdrop:jobs:' .. name, now, id)
  redis.call('ZREMRANGEBYRANK', 'stemdrop:jobs:' .. name, 0, -201)
end

local function names_some(id, field) return (get(id, field) or '[]') ~= '[]' end
"""
    + _TALLY
    + """
-- a job's state, and with it every list that the job is in
local function enter(id, state, now)
  local was = redis.call('HMGET', 'stemdrop:job:' .. id, 'state', 'moved_at')
  redis.call('HSET', 'stemdrop:job:' .. id, 'state', state, 'moved_at', now)
  -- not before the first write: Redis refuses that when it is full, and then nothing is to have happened
  tally_move(id, was, state, now)
  local of = 'stemdrop:account:' .. (get(id, 'account') or '0')
  redis.call('ZREM', of .. ':queue', id)
  redis.call('ZREM', of .. ':flight', id)
  redis.call('ZREM', 'stemdrop:jobs:failed', id)
  redis.call('ZREM', 'stemdrop:jobs:late', id)
  redis.call('ZREM', 'stemdrop:jobs:delivered', id)
  redis.call('ZREM', 'stemdrop:jobs:incomplete', id)
  if state == 'choosing' then  -- such jobs are many, and nobody's to look after
    redis.call('ZREM', 'stemdrop:jobs:open', id)
    return
  end
  redis.call('ZADD', 'stemdrop:jobs:open', now, id)
  if state == 'queued' then
    redis.call('ZADD', of .. ':queue', now, id)
  elseif state == 'submitting' or state == 'separating' or state == 'delivering' then
    redis.call('ZADD', of .. ':flight', now, id)
  elseif state == 'failed' or state == 'delivered' then
    list(state, id, now)
  end
  if state == 'failed' and string.find(get(id, 'failure') or '', '"code": "timeout"', 1, true) then
    redis.call('ZADD', 'stemdrop:jobs:late', now, id)
  end
  if state == 'delivered' and (names_some(id, 'missing') or names_some(id, 'refused')) then
    list('incomplete', id, now)
  end
end

-- a day's account is job → credits, so that writing and deleting twice is writing and deleting once
local function spent_key(id)
  return 'stemdrop:account:' .. get(id, 'account') .. ':' .. get(id, 'account_day')
end

local function take(id, charge)
  local price = tonumber(get(id, 'price') or '0')
  if price == 0 or get(id, 'charge') == charge then return end
  redis.call('HSET', spent_key(id), id, price)
  redis.call('EXPIRE', spent_key(id), 8 * 24 * 3600)
  redis.call('HSET', 'stemdrop:job:' .. id, 'charge', charge)
end

local function give_back(id)
  local charge = get(id, 'charge')
  if charge ~= 'held' and charge ~= 'settled' then return end
  redis.call('HDEL', spent_key(id), id)
  redis.call('HSET', 'stemdrop:job:' .. id, 'charge', 'returned')
end

-- of a job that has ended, and was held to have cost: whoever was told so is told otherwise
local function give_back_late(id, now)
  give_back(id)
  local failure = get(id, 'failure') or 'null'
  local corrected = string.gsub(failure, '"charged": %a+', '"charged": false')
  redis.call('HSET', 'stemdrop:job:' .. id, 'failure', corrected)
  -- the message of a job that was tried again tells of the new one
  local is_shown = corrected ~= failure or get(id, 'state') == 'cancelled'
  if is_shown and not get(id, 'retried_as') then redis.call('ZADD', 'stemdrop:jobs:open', now, id) end
end
"""
)

CREATE = (
    _PRELUDE
    + """
-- KEYS: once, job, of_account   ARGV: id, now, lifetime, state, field, value, …
local holder = redis.call('GET', KEYS[1])
if holder then return holder end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('HSET', KEYS[2], 'once', KEYS[1], unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
-- what is as old as that has expired, unless something was written to it since
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. (ARGV[2] - ARGV[3]))) do
  if not get(id, 'state') then redis.call('ZREM', KEYS[3], id) end
end
redis.call('EXPIRE', KEYS[3], ARGV[3])
if ARGV[4] ~= 'choosing' then enter(ARGV[1], ARGV[4], ARGV[2]) end
return ARGV[1]
"""
)

PICK = (
    _PRELUDE
    + """
-- KEYS: job, spent, flight, queue   ARGV: id, now, limit, most in flight, price, field, value, …
-- returns what became of it and the credits spent today
local spent = 0
for _, credits in ipairs(redis.call('HVALS', KEYS[2])) do spent = spent + tonumber(credits) end
if redis.call('HGET', KEYS[1], 'state') ~= 'choosing' then return {'late', spent} end
local limit, price = tonumber(ARGV[3]), tonumber(ARGV[5])
if limit > 0 and spent + price > limit then return {'over', spent} end
redis.call('HSET', KEYS[1], 'price', ARGV[5], unpack(ARGV, 6))
take(ARGV[1], 'held')
local busy = redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[4]) or redis.call('ZCARD', KEYS[4]) > 0
local state = busy and 'queued' or 'submitting'
enter(ARGV[1], state, ARGV[2])
return {state, spent + price}
"""
)

PROMOTE = (
    _PRELUDE
    + """
-- KEYS: flight, queue   ARGV: now, most in flight
-- returns the ids of jobs whose turn has come
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if not get(id, 'state') then redis.call('ZREM', KEYS[1], id) end
end
local begun = {}
while redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) do
  local first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not first then break end
  redis.call('ZREM', KEYS[2], first)
  if get(first, 'state') == 'queued' then
    enter(first, 'submitting', ARGV[1])
    begun[#begun + 1] = first
  end
end
return begun
"""
)

MOVE = (
    _PRELUDE
    + """
-- KEYS: job   ARGV: id, now, allowed states between commas, state, what of its credits, field, value, …
local state = redis.call('HGET', KEYS[1], 'state')
if not state or not string.find(ARGV[3], ',' .. state .. ',', 1, true) then return 0 end
-- whoever fails it may have looked before the create call was begun, or before it came to nothing
local is_uncharged = redis.call('HGET', KEYS[1], 'create_started_at') == '0'
if state == 'submitting' and ARGV[4] == 'failed' and is_uncharged ~= (ARGV[5] == 'return') then return 0 end
if #ARGV > 5 then redis.call('HSET', KEYS[1], unpack(ARGV, 6)) end
enter(ARGV[1], ARGV[4], ARGV[2])
local credits = ARGV[5]
if credits == 'cancel' then credits = is_uncharged and 'return' or 'settle' end
if credits == 'settle' then take(ARGV[1], 'settled') elseif credits == 'return' then give_back(ARGV[1]) end
return 1
"""
)

WRITE = """
-- KEYS: job, hash   ARGV: lifetime, field, value, …
-- of a job that has expired or was deleted, nothing is brought back
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[2], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[2], ARGV[1])
if KEYS[2] == KEYS[1] then  -- what leads to a job lives as long as it does
  local once, account = unpack(redis.call('HMGET', KEYS[1], 'once', 'account'))
  if once then redis.call('EXPIRE', once, ARGV[1]) end
  if account then redis.call('EXPIRE', 'stemdrop:account:' .. account .. ':jobs', ARGV[1]) end
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
-- KEYS: job   ARGV: new chat id
local old = redis.call('HGET', KEYS[1], 'chat_id')
if not old or old == ARGV[1] then return 0 end
-- numbers of the old chat's messages mean others in the new one
redis.call('HSET', KEYS[1], 'chat_id', ARGV[1], 'token_chat_id', old, 'message_id', 0, 'source_message_id', 0)
return 1
"""

CLOSE = """
-- KEYS: job, open   ARGV: id
-- a job that has moved on since its end was shown is looked after again
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'delivered' or state == 'failed' or state == 'cancelled' then
  redis.call('ZREM', KEYS[2], ARGV[1])
end
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
-- KEYS: sending   ARGV: the word of who began it, seconds that it still takes; 0: it is over
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
"""

BEGIN_CREATE = """
-- KEYS: job   ARGV: now, caller
if redis.call('HGET', KEYS[1], 'state') ~= 'submitting' then return 0 end
local caller = redis.call('HGET', KEYS[1], 'create_started_by')
if caller == ARGV[2] then return 1 end  -- this very call, sent again after a broken connection
if redis.call('HGET', KEYS[1], 'create_started_at') ~= '0' then return 0 end
redis.call('HSET', KEYS[1], 'create_started_at', ARGV[1], 'create_started_by', ARGV[2])
return 1
"""

NOT_ACCEPTED = (
    _PRELUDE
    + """
-- KEYS: job, spent   ARGV: id, now
local state = redis.call('HGET', KEYS[1], 'state')
if not state then  -- deleted meanwhile, which gave nothing back
  redis.call('HDEL', KEYS[2], ARGV[1])
  return
end
redis.call('HSET', KEYS[1], 'create_started_at', '0')
if state == 'cancelled' or state == 'failed' then give_back_late(ARGV[1], ARGV[2]) end
"""
)

ACCEPT = (
    _PRELUDE
    + """
-- KEYS: job, task   ARGV: id, task_id, now, lifetime
local known = redis.call('HGET', KEYS[1], 'task_id')
if not known then return 'unknown' end
local owner = redis.call('GET', KEYS[2])
if (known ~= '' and known ~= ARGV[2]) or (owner and owner ~= ARGV[1]) then return 'foreign' end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[4])
redis.call('HSET', KEYS[1], 'task_id', ARGV[2])
-- a callback that was quicker may have said that the credits came back
if get(ARGV[1], 'charge') == 'held' then take(ARGV[1], 'settled') end
local state = redis.call('HGET', KEYS[1], 'state')
-- somebody else took this answer for lost: here it is
local given_up = state == 'failed' and redis.call('HEXISTS', KEYS[1], 'retried_as') == 0
  and string.find(redis.call('HGET', KEYS[1], 'failure'), '"code": "lost"', 1, true)
if state ~= 'submitting' and not given_up then return 'repeated' end
redis.call('HSET', KEYS[1], 'failure', 'null')
enter(ARGV[1], 'separating', ARGV[3])
return 'stored'
"""
)

MARK_RETRIED = """
-- KEYS: job   ARGV: id, the new job's id
-- a result that came meanwhile is being delivered
if redis.call('HGET', KEYS[1], 'state') ~= 'failed' then return 0 end
redis.call('HSET', KEYS[1], 'retried_as', ARGV[2])
for _, name in ipairs({'failed', 'late', 'open'}) do redis.call('ZREM', 'stemdrop:jobs:' .. name, ARGV[1]) end
return 1
"""

RECEIVE = (
    _PRELUDE
    + """
local function brings_stems(result)
  return string.find(result, '"code": 200', 1, true) and not string.find(result, '"stems": []', 1, true)
end

-- KEYS: job, task   ARGV: id, chat_id, task_id, now, lifetime, result, 1 if success, 1 if refunded
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'unknown' end
if redis.call('HGET', KEYS[1], 'chat_id') ~= ARGV[2] and
   redis.call('HGET', KEYS[1], 'token_chat_id') ~= ARGV[2] then return 'foreign' end
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[1] then return 'foreign' end
local known = redis.call('HGET', KEYS[1], 'task_id')
if known ~= '' and known ~= ARGV[3] then return 'foreign' end
-- before the create call nothing can be known of a task
if known == '' and redis.call('HGET', KEYS[1], 'create_started_at') == '0' then return 'foreign' end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[5])
redis.call('HSET', KEYS[1], 'task_id', ARGV[3])
if ARGV[7] == '1' then take(ARGV[1], 'settled') end
local waiting = state == 'submitting' or state == 'separating'
-- stems that come after a failure are paid for: they are delivered all the same
local given_up = state == 'failed' and redis.call('HEXISTS', KEYS[1], 'retried_as') == 0
-- what had come is not begun again by its repetition
local had_come = brings_stems(redis.call('HGET', KEYS[1], 'result'))
local late = brings_stems(ARGV[6]) and not had_come and (given_up or state == 'delivering')
-- of a job that has ended nobody else will look at the result
if ARGV[8] == '1' and (state == 'failed' or state == 'cancelled') then give_back_late(ARGV[1], ARGV[4]) end
if not waiting and not late then return 'repeated' end
redis.call('HSET', KEYS[1], 'result', ARGV[6], 'failure', 'null')
enter(ARGV[1], 'delivering', ARGV[4])
return 'stored'
"""
)

FORGET = (
    _PRELUDE
    + """
-- KEYS: job, sent, packed   ARGV: id, now, the state that it must be in ('': any)
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[3] ~= '' and get(ARGV[1], 'state') ~= ARGV[3] then return 0 end
if get(ARGV[1], 'charge') == 'held' and get(ARGV[1], 'create_started_at') == '0' then give_back(ARGV[1]) end
enter(ARGV[1], 'choosing', ARGV[2])
redis.call('ZREM', 'stemdrop:account:' .. (get(ARGV[1], 'account') or '0') .. ':jobs', ARGV[1])
local task = get(ARGV[1], 'task_id')
if task and task ~= '' then redis.call('DEL', 'stemdrop:task:' .. task) end
redis.call('DEL', get(ARGV[1], 'once') or KEYS[1], KEYS[1], KEYS[2], KEYS[3])
return 1
"""
)
