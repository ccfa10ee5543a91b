"""The token bucket that the Lua scripts of the limiters share, and the limiters' base class.

A bucket is two fields of a hash. It holds at most `size` tokens and gains `refill` tokens a second. The clock
is that of Redis, since the clocks of several machines differ.
"""

from collections.abc import Callable

from redis.asyncio import Redis

# ARGV[1] is the time in Unix seconds, or empty for Redis' own clock.
CLOCK_LUA = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
"""
BUCKET_LUA = (
    CLOCK_LUA
    + """
-- the tokens in the bucket now; a bucket that was never used is full
local function tokens_in(key, tokens_field, time_field, size, refill)
  local held = redis.call('HMGET', key, tokens_field, time_field)
  local tokens, at = tonumber(held[1] or size), tonumber(held[2] or now)
  if at > now then  -- the clock was set back: the bucket gains from here on
    at = now
    redis.call('HSET', key, time_field, tostring(now))
  end
  return math.min(size, tokens + (now - at) * refill)
end

local function set_tokens(key, tokens_field, time_field, tokens)
  redis.call('HSET', key, tokens_field, tostring(tokens), time_field, tostring(now))
end
"""
)


class Limiter:
    """A limit that all processes share, by Redis' clock or `clock` (Unix seconds), which tests set."""

    def __init__(self, redis: Redis, clock: Callable[[], float] | None = None) -> None:
        self._redis = redis
        self._clock = clock

    def _now(self) -> str:
        """Return the first argument of the scripts."""
        return str(self._clock()) if self._clock else ""
