"""How often a user may ask for something, counted over all processes."""

from stemdrop.errors import TooOften
from stemdrop.storage.connection import run_script
from stemdrop.storage.keys import LIMIT, LIMIT_LIFETIME_S
from stemdrop.storage.token_bucket import BUCKET_LUA, Limiter

_TAKE = (
    BUCKET_LUA
    + """
-- KEYS: bucket   ARGV: now, size and refill of the bucket, lifetime
-- returns milliseconds to wait; 0: one token was taken
local refill = tonumber(ARGV[3])
local tokens = tokens_in(KEYS[1], 'tokens', 'at', tonumber(ARGV[2]), refill) - 1
if tokens < 0 then return math.ceil(-tokens / refill * 1000) end
set_tokens(KEYS[1], 'tokens', 'at', tokens)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 0
"""
)


class RateLimits(Limiter):
    """A token bucket for each user and kind of request."""

    async def take(self, what: str, user_id: int, per_minute: int) -> None:
        """Count one more request of a user. Raises `TooOften` beyond `per_minute`, or `StoreUnavailable`."""
        args = [self._now(), per_minute, per_minute / 60, LIMIT_LIFETIME_S]
        wait_ms = int(await run_script(self._redis, _TAKE, [LIMIT.format(what, user_id)], args))
        if wait_ms > 0:
            raise TooOften(wait_ms / 1000, f"a user asks for {what} too often")
