"""Telegram's flood limits, enforced over all processes of the bot by token buckets in Redis.

The limits (Bot FAQ, 'My bot is hitting limits') are about 30 messages a second over all chats, 1 a second in
a chat, and 20 a minute in a group. Each item of an album counts.
"""

from redis.asyncio import Redis

from stemdrop.storage.connection import run_script
from stemdrop.storage.keys import FLOOD, FLOOD_PAUSE
from stemdrop.storage.token_bucket import CLOCK_LUA, Limiter

# (bucket size, refill per second). A full bucket and a refill can fall into the same second (in a group: the
# same minute), so their sum is what Telegram allows in it. A full bucket is enough for the largest album.
OVERALL = (10, 20.0)
PRIVATE = (10, 1.0)
GROUP = (10, 10 / 60)
# Room over all chats is booked at most this far ahead, so that no queue of albums shuts out short messages.
AHEAD_S = 2.0
_LIFETIME_S = 300

_RESERVE = (
    CLOCK_LUA
    + f"""
-- KEYS: pause, bucket of all chats, bucket of the chat
-- ARGV: now, cost, size and refill of each bucket, how far ahead room may be booked
-- returns milliseconds to wait, and 1 if the cost was then taken from both buckets
local cost, ahead = tonumber(ARGV[2]), tonumber(ARGV[7])
local stored = redis.call('MGET', unpack(KEYS))

local function set(key, value) redis.call('SET', key, value, 'EX', {_LIFETIME_S}) end

-- how long the pause still is; a clock that was set back does not make it longer
local function pause_left()
  local from, seconds = string.match(stored[1] or '', '(%S+) (%S+)')
  if not from then return 0 end
  if tonumber(from) > now then
    redis.call('SET', KEYS[1], now .. ' ' .. seconds, 'KEEPTTL')
    from = now
  end
  return from + seconds - now
end

-- when the bucket will be full again, and after how long it has this many tokens
local function read(i, size, refill)
  local full, latest = tonumber(stored[i] or now), now + size / refill + {AHEAD_S}
  if full > latest then  -- the clock was set back: the bucket is empty, and gains from here on
    full = now + size / refill
    set(KEYS[i], full)
  end
  full = math.max(full, now)
  return full, full + (math.min(cost, size) - size) / refill - now
end

local all_refill, refill = tonumber(ARGV[4]), tonumber(ARGV[6])
local all_full, all_wait = read(2, tonumber(ARGV[3]), all_refill)
local full, chat_wait = read(3, tonumber(ARGV[5]), refill)
local wait = math.max(0, pause_left(), all_wait, chat_wait)
if wait > 0 and (wait > all_wait or wait > ahead) then
  -- room that one chat can use only later is not kept from the others
  if wait == all_wait then wait = wait - ahead end
  return {{math.ceil(wait * 1000), 0}}
end
set(KEYS[2], all_full + math.min(cost, tonumber(ARGV[3])) / all_refill)
set(KEYS[3], math.max(full, now + wait) + math.min(cost, tonumber(ARGV[5])) / refill)
return {{math.ceil(wait * 1000), 1}}
"""
)

_PAUSE_FOR = (
    CLOCK_LUA
    + """
-- KEYS: pause   ARGV: now, seconds. Of two pauses the one that ends later counts.
local from, seconds = string.match(redis.call('GET', KEYS[1]) or '', '(%S+) (%S+)')
local ends = from and math.min(now, tonumber(from)) + tonumber(seconds) or 0
if ends < now + tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], now .. ' ' .. ARGV[2], 'PX', math.max(1, math.ceil(ARGV[2] * 1000)))
end
"""
)


async def pause_left(redis: Redis) -> float:
    """Return for how many more seconds Telegram has asked for a pause. Raises `StoreUnavailable`."""
    return max(0, int(await redis.pttl(FLOOD_PAUSE))) / 1000


class FloodLimiter(Limiter):
    """The flood limits of one bot. The methods raise `StoreUnavailable`."""

    async def reserve(
        self, chat_id: int | str | None, messages: int, ahead_s: float = AHEAD_S
    ) -> tuple[float, bool]:
        """Book room for so many messages in the chat, at most `ahead_s` seconds ahead.

        Returns the seconds to wait, and whether room is booked: then the messages may be sent after the wait,
        unless a pause has begun. If nothing is booked, the caller must ask again after the wait.
        """
        is_group = str(chat_id).startswith(("-", "@"))
        keys = [FLOOD_PAUSE, FLOOD.format("all"), FLOOD.format(chat_id)]
        limits = (*OVERALL, *(GROUP if is_group else PRIVATE), min(ahead_s, AHEAD_S))
        wait_ms, is_booked = await run_script(self._redis, _RESERVE, keys, [self._now(), messages, *limits])
        return int(wait_ms) / 1000, bool(is_booked)

    async def is_paused(self) -> bool:
        """Whether Telegram has asked for a pause that has not ended."""
        return await pause_left(self._redis) > 0

    async def pause(self, seconds: float) -> None:
        """Make all processes stop sending for the pause that Telegram asked for (429, `retry_after`)."""
        await run_script(self._redis, _PAUSE_FOR, [FLOOD_PAUSE], [self._now(), seconds])
