"""The circuit breaker of a provider; `tests/worker/test_fail_over.py` shows what it does to songs."""

from stemdrop.storage.circuits import Circuits
from stemdrop.storage.connection import connect
from stemdrop.storage.keys import CIRCUIT_OPEN


async def test_it_is_open_in_its_last_moment_too(redis_url: str) -> None:
    async with connect(redis_url) as redis:
        circuits = Circuits(redis)
        is_open = False
        while not is_open:  # on a slow machine the moment may be over before it is looked at
            await circuits.failed("fal", "maintenance", at_once=True)
            await redis.pexpire(CIRCUIT_OPEN.format("fal"), 450)
            found = await circuits.get("fal")
            is_open = bool(await redis.exists(CIRCUIT_OPEN.format("fal")))
        assert found.asked_again_s == 1
