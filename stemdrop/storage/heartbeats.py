"""`Heartbeats`: the processes that run and their troubles, which each reports to Redis every few seconds.

Each process also reports to the health check of its container (`container_health.py`).
"""

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from typing import Any, cast

from stemdrop.errors import StoreUnavailable
from stemdrop.observability import container_health
from stemdrop.storage.connection import RedisStore
from stemdrop.storage.keys import PRESENT, PRESENT_LIFETIME_S

log = logging.getLogger(__name__)

BEAT_S = 10.0
FORGOTTEN_S = 3600.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last report of one role (`bot`, `webhook`, `worker`) of one process. Times are Unix seconds.

    `trouble` is empty while it works, otherwise one sentence for the operator.
    """

    role: str
    host: str
    pid: int
    version: str
    started_at: float
    seen_at: float
    trouble: str = ""

    @property
    def name(self) -> str:
        """A name that no other running process has."""
        return f"{self.role}:{self.host}:{self.pid}"


class Heartbeats(RedisStore):
    """Every method uses Redis' clock."""

    async def note(self, heartbeat: Heartbeat) -> None:
        """Store a heartbeat with the current time; delete those of processes that ended long ago."""
        seen = replace(heartbeat, seen_at=await self._now())
        await cast(Any, self._redis.hset(PRESENT, seen.name, json.dumps(asdict(seen))))
        if gone := [it.name for it in await self._noted() if seen.seen_at - it.seen_at > FORGOTTEN_S]:
            await cast(Any, self._redis.hdel(PRESENT, *gone))

    async def leave(self, name: str) -> None:
        await cast(Any, self._redis.hdel(PRESENT, name))

    async def all(self) -> list[Heartbeat]:
        """Return the heartbeats of the last minute by role, the longest running process first."""
        now, noted = await self._now(), await self._noted()
        present = [it for it in noted if abs(now - it.seen_at) <= PRESENT_LIFETIME_S]
        return sorted(present, key=lambda it: (it.role, it.started_at, it.name))

    async def has(self, role: str, within_s: float) -> bool:
        """Whether a process of this role has sent a heartbeat in the last `within_s` seconds."""
        now = await self._now()
        return any(it.role == role and now - it.seen_at <= within_s for it in await self._noted())

    async def _noted(self) -> list[Heartbeat]:
        stored = await cast(Any, self._redis.hgetall(PRESENT))
        return [_read(json.loads(value)) for value in stored.values()]

    async def _now(self) -> float:
        seconds, microseconds = await cast(Any, self._redis.time())
        return float(seconds + microseconds / 1e6)


async def send_heartbeats(
    heartbeats: Heartbeats,
    troubles: Mapping[str, Callable[[], str]],
    stop: asyncio.Event,
    every_s: float = BEAT_S,
) -> None:
    """Report each role's trouble every `every_s` seconds, more often while there is one, until `stop`."""
    host, pid, own_version, started_at = socket.gethostname(), os.getpid(), version("stemdrop"), time.time()

    def heartbeat(role: str) -> Heartbeat:
        trouble = troubles[role]()
        return Heartbeat(role, host, pid, own_version, started_at, time.time(), trouble)

    try:
        while not stop.is_set():
            there = [heartbeat(role) for role in troubles]
            wrong = [f"{it.role}: {it.trouble}" for it in there if it.trouble]
            try:
                for it in there:
                    await heartbeats.note(it)
            except StoreUnavailable as error:
                wrong.append(str(error))
            container_health.write(wrong)
            # the end of a trouble must be reported soon
            await _wait(stop, every_s / 5 if wrong else every_s)
    finally:
        try:
            for role in troubles:
                await heartbeats.leave(heartbeat(role).name)
        except StoreUnavailable as error:
            log.debug("the heartbeat was not deleted: %s", error)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def _read(value: dict[str, Any]) -> Heartbeat:
    """Build a heartbeat; fields of a newer version are ignored."""
    names = {item.name for item in fields(Heartbeat)}
    return Heartbeat(**{name: it for name, it in value.items() if name in names})
