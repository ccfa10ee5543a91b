"""What all checks of one examination share."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis.asyncio import Redis

from stemdrop.settings import Settings
from stemdrop.storage.heartbeats import Heartbeat


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that are waited at most. With these a whole examination ends within 40 s."""

    lookup_s: float = 5
    connect_s: float = 5
    answer_s: float = 10  # for a server's answer
    callback_s: float = 15  # as long as the provider waits for a callback's
    listen_s: float = 10  # for another program that fetches the bot's updates
    redis_s: float = 8
    subject_s: float = 29


@dataclass(slots=True)
class Examination:
    """The settings, and what is asked with; `http` is for the servers that we use, as the product asks them.

    `presences` is `None` where Redis does not tell. `offsets`: server → seconds that its clock is ahead. With
    `is_in_bot` it is our bot itself that looks, whatever Redis says of it.
    """

    settings: Settings
    patience: Patience
    redis: Redis
    http: httpx.AsyncClient
    trusted: ssl.SSLContext
    folder: Path
    is_in_bot: bool = False
    heartbeats: Sequence[Heartbeat] | None = None
    offsets: dict[str, float] = field(default_factory=dict)

    def present(self, role: str) -> list[Heartbeat]:
        """Processes that have this role now; none where nobody knows."""
        return [it for it in self.heartbeats or () if it.role == role]
