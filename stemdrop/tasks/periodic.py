"""Periodic work that all processes share: each piece is done by one process at a time."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex

from redis.asyncio import Redis

from stemdrop.errors import StoreUnavailable
from stemdrop.storage.connection import run_script
from stemdrop.storage.task_scripts import KEEP_TURN, TAKE_TURN
from stemdrop.tasks.tracebacks import Tracebacks

log = logging.getLogger(__name__)

_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Periodic:
    """Work that is run every `every_s` seconds, by one worker at a time."""

    every_s: float
    run: Callable[[], Awaitable[None]]


class Turns:
    """Lets one process at a time have the turn to do a piece of periodic work; `key` is the turn in Redis.

    The process that has the turn keeps it for `lease_s` at a time while it works, and then until the work is
    due again. If it dies, its turn expires and another process takes it. No wall clock is compared.
    """

    def __init__(self, redis: Redis, key: str, name: str, work: Periodic, lease_s: float) -> None:
        self._redis = redis
        self._key = key
        self._name = name
        self._work = work
        self._lease_s = lease_s
        self._process = token_hex(8)
        self._tracebacks = Tracebacks()

    async def run(self, stop: asyncio.Event) -> None:
        """Do the work whenever it is this process's turn, until `stop` is set; failures are only logged."""
        while not stop.is_set():
            wait_s = _AGAIN_S
            with suppress(StoreUnavailable):
                args = [self._process, int(self._lease_s * 1000)]
                wait_s = await run_script(self._redis, TAKE_TURN, [self._key], args) / 1000
                if not wait_s:
                    wait_s = await self._take_turn()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(wait_s, self._work.every_s) + 0.001)

    async def _take_turn(self) -> float:
        """Do the work; return after how many seconds it is to be done again."""
        keeping = asyncio.create_task(self._keep_turn())
        began = time.monotonic()
        try:
            await self._work.run()
            self._tracebacks.forget(self._name)
        except Exception as error:
            log.error(
                *("%s failed: %s: %s", self._name, type(error).__name__, error),
                exc_info=self._tracebacks.select(self._name, error),
            )
        finally:
            keeping.cancel()
        wait_s = max(0.0, self._work.every_s - (time.monotonic() - began))
        await self._keep_for(wait_s)
        return wait_s

    async def _keep_turn(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 4)
            await self._keep_for(self._lease_s)

    async def _keep_for(self, seconds: float) -> None:
        with suppress(StoreUnavailable):
            await run_script(self._redis, KEEP_TURN, [self._key], [self._process, int(seconds * 1000)])
