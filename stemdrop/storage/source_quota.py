"""How often a job's source may be fetched, counted over all processes.

The source link is in the provider's hands. Whoever finds it in a log of theirs must not be able to make it a
load on Telegram's file server and on our line.
"""

import time
from collections.abc import Callable

from redis.asyncio import Redis

from stemdrop.errors import ExpiredLink, TooOften
from stemdrop.storage.connection import script, translated
from stemdrop.storage.keys import JOB

# A provider fetches a source once, some in ranges: the largest (20 MB) in parts of 256 KiB is 80 requests,
# and three tries of that 240. Who looks for the file's index asks for 'all from here on' a few times and
# reads little of it. Nobody who only wants the song comes near any of these.
MOST_FETCHES = 300
MOST_BYTES = 40  # times the source's size
# A bucket: so many at once, and then so many a second.
BURST, PER_S = 100, 1.0

_FETCH = """
-- KEYS: job   ARGV: now, bytes, most fetches, most bytes, burst, refill a second
-- returns milliseconds to wait; 0: it may be fetched and is counted; -1: it never may again
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local held = redis.call('HMGET', KEYS[1], 'fetches', 'fetched_bytes', 'fetch_tokens', 'fetched_at')
local count, bytes = tonumber(held[1] or 0) + 1, tonumber(held[2] or 0) + tonumber(ARGV[2])
if count > tonumber(ARGV[3]) or bytes > tonumber(ARGV[4]) then return -1 end
local now, burst, refill = tonumber(ARGV[1]), tonumber(ARGV[5]), tonumber(ARGV[6])
-- the clocks of two machines differ: going back and forth between them must not fill the bucket
local at = tonumber(held[4] or now)
local tokens = math.min(burst, tonumber(held[3] or burst) + math.max(0, now - at) * refill) - 1
if tokens < 0 then return math.ceil(-tokens / refill * 1000) end
redis.call('HSET', KEYS[1], 'fetches', count, 'fetched_bytes', bytes, 'fetch_tokens', tostring(tokens),
  'fetched_at', tostring(math.max(at, now)))
return 0
"""


class SourceQuota:
    """The counters are in the job's own hash and so die with it."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._fetch = script(redis, _FETCH)

    async def count(self, job_id: str, wanted_bytes: int, size_bytes: int) -> None:
        """Count one more fetch, of so many bytes (0: `HEAD`) of a source of this size (0: unknown).

        Raises `TooOften` when it comes too soon, which is not counted; `ExpiredLink` when the job's fetches
        are used up or the job is no longer there; `StoreUnavailable`.
        """
        most_bytes = MOST_BYTES * max(size_bytes, wanted_bytes)
        args = [self._clock(), wanted_bytes, MOST_FETCHES, most_bytes, BURST, PER_S]
        async with translated():
            wait_ms = int(await self._fetch([JOB.format(job_id)], list(args)))
        if wait_ms < 0:
            raise ExpiredLink("this source has been fetched as often as it may be")
        if wait_ms > 0:
            raise TooOften(wait_ms / 1000, "this source is fetched too often")
