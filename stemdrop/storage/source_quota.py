"""How often a job's source may be fetched, counted over all processes.

The provider holds the source link. Anyone who finds it in the provider's log must not be able to load
Telegram's file server and our connection with it.
"""

from stemdrop.errors import ExpiredLink, TooOften
from stemdrop.storage.connection import run_script
from stemdrop.storage.keys import JOB
from stemdrop.storage.token_bucket import BUCKET_LUA, Limiter

# A provider fetches a source once, or in ranges: the largest source (20 MB) in parts of 256 KiB takes 80
# requests, and three tries 240. Clients that look for the file's index ask for 'everything from here' a
# few times and read little of it.
MOST_FETCHES = 300
MOST_SOURCE_SIZES = 40  # times the source's size
# A token bucket: its size, and its refill per second.
BURST, PER_S = 100, 1.0

_FETCH = (
    BUCKET_LUA
    + """
-- KEYS: job   ARGV: now, bytes, most fetches, most bytes, size and refill of the bucket
-- returns milliseconds to wait; 0: the fetch is counted; -1: the source may not be fetched again
local state, count, bytes = unpack(redis.call('HMGET', KEYS[1], 'state', 'fetches', 'fetched_bytes'))
if not state then return -1 end
count, bytes = tonumber(count or 0) + 1, tonumber(bytes or 0) + tonumber(ARGV[2])
if count > tonumber(ARGV[3]) or bytes > tonumber(ARGV[4]) then return -1 end
local refill = tonumber(ARGV[6])
local tokens = tokens_in(KEYS[1], 'fetch_tokens', 'fetched_at', tonumber(ARGV[5]), refill) - 1
if tokens < 0 then return math.ceil(-tokens / refill * 1000) end
set_tokens(KEYS[1], 'fetch_tokens', 'fetched_at', tokens)
redis.call('HSET', KEYS[1], 'fetches', count, 'fetched_bytes', bytes)
return 0
"""
)


class SourceQuota(Limiter):
    """Counts the fetches in the job's own hash."""

    async def count(self, job_id: str, wanted_bytes: int, size_bytes: int) -> None:
        """Count one more fetch of `wanted_bytes` (0: `HEAD`) of a source of `size_bytes` (0: unknown).

        Raises `TooOften` for a fetch that comes too soon, which is not counted; `ExpiredLink` if the job's
        fetches are used up or the job is gone; `StoreUnavailable`.
        """
        most_bytes = MOST_SOURCE_SIZES * max(size_bytes, wanted_bytes)
        args = [self._now(), wanted_bytes, MOST_FETCHES, most_bytes, BURST, PER_S]
        wait_ms = int(await run_script(self._redis, _FETCH, [JOB.format(job_id)], args))
        if wait_ms < 0:
            raise ExpiredLink("this source has been fetched as often as it may be")
        if wait_ms > 0:
            raise TooOften(wait_ms / 1000, "this source is fetched too often")
