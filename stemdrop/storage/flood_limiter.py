"""Telegram's flood limits, enforced over all processes of the bot by token buckets in Redis.

The limits (Bot FAQ, 'My bot is hitting limits') are about 30 messages a second over all chats, 1 a second in
a chat, and 20 a minute in a group. Each item of an album counts.
"""

from collections.abc import Callable

from redis.asyncio import Redis

from stemdrop.storage.connection import run_script
from stemdrop.storage.keys import FLOOD, FLOOD_PAUSE
from stemdrop.storage.token_bucket import BUCKET_LUA

# (bucket size, refill per second). A full bucket and a refill can fall into the same second (in a group: the
# same minute), so their sum is what Telegram allows in it. A full bucket is enough for the largest album.
OVERALL = (10, 20.0)
PRIVATE = (10, 1.0)
GROUP = (10, 10 / 60)

_TAKE = (
    BUCKET_LUA
    + """
-- KEYS: pause, bucket, …   ARGV: now, cost, then size and refill per bucket
-- returns milliseconds to wait; 0: the cost was taken from every bucket
local cost = tonumber(ARGV[2])
local pause = redis.call('HMGET', KEYS[1], 'from', 'seconds')
local wait = 0
if pause[1] then
  -- a clock that was set back does not make the pause longer
  if tonumber(pause[1]) > now then redis.call('HSET', KEYS[1], 'from', tostring(now)) end
  wait = math.min(now, tonumber(pause[1])) + tonumber(pause[2]) - now
end
local left = {}
for i = 2, #KEYS do
  local size, refill = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  left[i] = tokens_in(KEYS[i], 'tokens', 'at', size, refill) - math.min(cost, size)
  if left[i] < 0 then wait = math.max(wait, -left[i] / refill) end
end
if wait > 0 then return math.ceil(wait * 1000) end
for i = 2, #KEYS do
  set_tokens(KEYS[i], 'tokens', 'at', left[i])
  redis.call('EXPIRE', KEYS[i], 300)
end
return 0
"""
)

_PAUSE_FOR = (
    BUCKET_LUA
    + """
-- KEYS: pause   ARGV: now, seconds. Of two pauses the one that ends later counts.
local held = redis.call('HMGET', KEYS[1], 'from', 'seconds')
local ends = held[1] and math.min(now, tonumber(held[1])) + tonumber(held[2]) or 0
if ends < now + tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'from', tostring(now), 'seconds', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], math.max(1, math.ceil(ARGV[2] * 1000)))
end
"""
)


async def pause_left(redis: Redis) -> float:
    """Return for how many more seconds Telegram has asked for a pause. Raises `StoreUnavailable`."""
    return max(0, int(await redis.pttl(FLOOD_PAUSE))) / 1000


class FloodLimiter:
    """One limiter for all processes, by Redis' clock or `clock`. Raises `StoreUnavailable`."""

    def __init__(self, redis: Redis, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._redis = redis

    async def delay(self, chat_id: int | str | None, messages: int) -> float:
        """Take room for the messages in the chat; returns 0, or the seconds after which to ask again."""
        is_group = str(chat_id).startswith(("-", "@"))
        keys = [FLOOD_PAUSE, FLOOD.format("all"), FLOOD.format(chat_id)]
        args = [self._now(), messages, *OVERALL, *(GROUP if is_group else PRIVATE)]
        return int(await run_script(self._redis, _TAKE, keys, args)) / 1000

    async def pause(self, seconds: float) -> None:
        """Telegram asked for a pause (429, `retry_after`): all processes stop sending for that long."""
        await run_script(self._redis, _PAUSE_FOR, [FLOOD_PAUSE], [self._now(), seconds])

    def _now(self) -> str:
        return str(self._clock()) if self._clock else ""
