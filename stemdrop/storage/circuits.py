"""`Circuits`: a circuit breaker for each provider, the same for all processes.

A provider that has failed several times in a row, or that cannot take any order for now, is not asked for a
while; the first failure after that opens the circuit again, for twice as long.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import ceil

from stemdrop.storage.connection import RedisStore, run_script
from stemdrop.storage.keys import CIRCUIT, CIRCUIT_LIFETIME_S, CIRCUIT_OPEN

FAILURES_TO_OPEN = 5
FIRST_OPEN_S, LONGEST_OPEN_S = 30, 600

_FAILED = """
-- KEYS: circuit, open   ARGV: now, why, failures that open it, first and longest time for which it is open,
-- lifetime
-- returns the seconds for which it is open from now, 0 if it stays as it is
local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
redis.call('HSET', KEYS[1], 'why', ARGV[2], 'failed_at', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[6])
if failures < tonumber(ARGV[3]) or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local openings = redis.call('HINCRBY', KEYS[1], 'openings', 1)
local open_s = math.min(tonumber(ARGV[4]) * 2 ^ (openings - 1), tonumber(ARGV[5]))
redis.call('SET', KEYS[2], ARGV[2], 'EX', math.floor(open_s))
redis.call('HSETNX', KEYS[1], 'opened_at', ARGV[1])
return math.floor(open_s)
"""


@dataclass(frozen=True, slots=True)
class Circuit:
    """The state of one provider's circuit; `asked_again_s` is 0 while the provider is asked.

    `failed_for_s` is the time between its first opening since the last success and the last failure.
    """

    failures: int = 0
    why: str = ""
    asked_again_s: int = 0
    failed_for_s: float = 0

    @property
    def is_open(self) -> bool:
        return self.asked_again_s > 0


class Circuits(RedisStore):
    """The circuits of all providers. Every method raises `StoreUnavailable`."""

    async def failed(self, provider: str, why: str, *, at_once: bool = False) -> int:
        """Count a failure; return for how many seconds it has opened the circuit, 0 if it has not.

        `at_once`: the provider takes no orders for now, so one failure suffices.
        """
        keys = [CIRCUIT.format(provider), CIRCUIT_OPEN.format(provider)]
        limit = 1 if at_once else FAILURES_TO_OPEN
        args = [self._clock(), why[:200], limit, FIRST_OPEN_S, LONGEST_OPEN_S, CIRCUIT_LIFETIME_S]
        return int(await run_script(self._redis, _FAILED, keys, args))

    async def succeeded(self, provider: str) -> None:
        """Close the circuit: the provider has answered."""
        await self._redis.delete(CIRCUIT.format(provider), CIRCUIT_OPEN.format(provider))

    async def get(self, provider: str) -> Circuit:
        return (await self.all([provider]))[provider]

    async def all(self, providers: Collection[str]) -> dict[str, Circuit]:
        """Return the circuit of each of these providers."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for provider in providers:
                pipeline.hmget(CIRCUIT.format(provider), ["failures", "why", "opened_at", "failed_at"])
                pipeline.pttl(CIRCUIT_OPEN.format(provider))  # the TTL is rounded, maybe to 0
            found = await pipeline.execute()
        return {
            provider: Circuit(
                int(failures or 0),
                why or "",
                ceil(max(0, left_ms) / 1000),
                max(0.0, float(failed_at) - float(opened_at)) if opened_at else 0,
            )
            for provider, (failures, why, opened_at, failed_at), left_ms in zip(
                providers, found[::2], found[1::2], strict=True
            )
        }
