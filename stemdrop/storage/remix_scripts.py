"""The scripts of `Remixes`: each is one atomic step."""

ADD = """
-- KEYS: remix, open ones of its user, open ones of all, all of its user
-- ARGV: id, now, lifetime, most open ones, field, value, …
if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[2] - ARGV[3])
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[1], ARGV[3])
for i = 2, 4 do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', ARGV[2] - ARGV[3])
  redis.call('ZADD', KEYS[i], ARGV[2], ARGV[1])
  redis.call('EXPIRE', KEYS[i], ARGV[3])
end
return 1
"""

MOVE = """
-- KEYS: remix, open ones of its user, open ones of all
-- ARGV: id, states that it may have, new state, is open, the run that moves it ('': any)
local state, run = unpack(redis.call('HMGET', KEYS[1], 'state', 'run'))
if not state or (ARGV[5] ~= '' and run ~= ARGV[5]) then return 0 end
if state ~= ARGV[3] and not string.find(ARGV[2], ',' .. state .. ',', 1, true) then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[3])
for i = 2, 3 do if ARGV[4] == '' then redis.call('ZREM', KEYS[i], ARGV[1]) end end
return 1
"""

BEGIN = """
-- KEYS: remix   ARGV: states that it may have, new state, the run
local state, run = unpack(redis.call('HMGET', KEYS[1], 'state', 'run'))
if not state or not string.find(ARGV[1], ',' .. state .. ',', 1, true) then return 0 end
if run == ARGV[3] then return tonumber(redis.call('HGET', KEYS[1], 'runs')) end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'run', ARGV[3])
return redis.call('HINCRBY', KEYS[1], 'runs', 1)
"""

UNCOUNT = """
-- KEYS: remix   ARGV: the run
if redis.call('HGET', KEYS[1], 'run') ~= ARGV[1] then return end
redis.call('HSET', KEYS[1], 'run', '')
redis.call('HINCRBY', KEYS[1], 'runs', -1)
"""

REOPEN = """
-- KEYS: remix, open ones of its user, open ones of all
-- ARGV: id, now, lifetime, new state, state that it must have
local state = redis.call('HGET', KEYS[1], 'state')
if state == ARGV[4] then return 1 end
if state ~= ARGV[5] then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[4], 'runs', 0, 'message_id', 0)
for i = 2, 3 do redis.call('ZADD', KEYS[i], ARGV[2], ARGV[1]) end
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[3]) end
return 1
"""

WRITE = """
-- KEYS: remix   ARGV: field, value, …     one that was deleted stays deleted
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
"""

CACHE = """
-- KEYS: remixes of a split, its stems   ARGV: digest, JSON of `Sent`
local lifetime = redis.call('TTL', KEYS[2])
if lifetime > 0 then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('EXPIRE', KEYS[1], lifetime)
end
"""

SET_DRAFT = """
-- KEYS: desk, job, desks of the user
-- ARGV: user id, the draft that was read ('': none), the new one, lifetime, job id, now
if redis.call('EXISTS', KEYS[2]) == 0 then return 1 end  -- a job that was deleted has no desk
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[6] - ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[6], ARGV[5])
for i = 1, 3, 2 do redis.call('EXPIRE', KEYS[i], ARGV[4]) end
return 1
"""

FIRST_ORDER = """
-- KEYS: orders of a user   ARGV: what is ordered, the order's name, the name that it replaces, lifetime, most
local first = redis.call('HGET', KEYS[1], ARGV[1])
if first and first ~= ARGV[3] then return first end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return ARGV[2]
"""
