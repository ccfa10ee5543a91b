"""Telegram's flood limits, held for the bot over all its processes by token buckets in Redis.

Limits (Bot FAQ, 'My bot is hitting limits'): about 30 messages a second over all chats, 1 a second in one
chat, 20 a minute in one group. An album's items count each.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from redis.asyncio import Redis

from stemdrop.store import translated

# (bucket size, refill per second). A full bucket and a refill can fall into the same second (or minute, in a
# group), so both together are what Telegram allows in it. Each takes one full album.
OVERALL = (10, 20.0)
PRIVATE = (10, 1.0)
GROUP = (10, 10 / 60)

_KEY = "stemdrop:flood:{}"
_PAUSE = "stemdrop:flood:pause"

_TAKE = """
-- KEYS: pause, bucket, …   ARGV: now, cost, then size and refill per bucket
-- returns milliseconds to wait; 0 means that the cost was taken from every bucket
local now, cost = tonumber(ARGV[1]), tonumber(ARGV[2])
local wait = (tonumber(redis.call('GET', KEYS[1]) or '0')) - now
local left = {}
for i = 2, #KEYS do
  local size, refill = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local held = redis.call('HMGET', KEYS[i], 'tokens', 'at')
  local tokens, at = tonumber(held[1] or size), tonumber(held[2] or now)
  tokens = math.min(size, tokens + math.max(0, now - at) * refill)
  left[i] = tokens - math.min(cost, size)
  if left[i] < 0 then wait = math.max(wait, -left[i] / refill) end
end
if wait > 0 then return math.ceil(wait * 1000) end
for i = 2, #KEYS do
  redis.call('HSET', KEYS[i], 'tokens', tostring(left[i]), 'at', tostring(now))
  redis.call('EXPIRE', KEYS[i], 300)
end
return 0
"""


_PAUSE_UNTIL = """
-- KEYS: pause   ARGV: until, milliseconds. Of two pauses the one that ends later counts.
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
"""


class _Script(Protocol):
    def __call__(self, keys: list[str], args: list[str | float]) -> Awaitable[Any]: ...


class FloodLimiter:
    """One limiter for all processes that share this Redis. Raises `StoreUnavailable` when it is away."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._take = cast(_Script, redis.register_script(_TAKE))
        self._pause_until = cast(_Script, redis.register_script(_PAUSE_UNTIL))

    async def delay(self, chat_id: int | str | None, messages: int) -> float:
        """Take room for so many messages in the chat; 0, or the seconds after which to ask again."""
        is_group = str(chat_id).startswith(("-", "@"))
        keys = [_PAUSE, _KEY.format("all"), _KEY.format(chat_id)]
        args = [self._clock(), messages, *OVERALL, *(GROUP if is_group else PRIVATE)]
        async with translated():
            return int(await self._take(keys, list(args))) / 1000

    async def pause(self, seconds: float) -> None:
        """Telegram asked for a pause (429, `retry_after`): all processes stop sending for that long."""
        until = self._clock() + seconds
        async with translated():
            await self._pause_until([_PAUSE], [until, max(1, int(seconds * 1000))])
