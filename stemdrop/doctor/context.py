"""The inputs that all checks of one run share."""

import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from redis.asyncio import Redis

from stemdrop.settings import Settings
from stemdrop.storage.heartbeats import Heartbeat


@dataclass(frozen=True, slots=True)
class DoctorTimeouts:
    """Timeouts in seconds. With the defaults a whole run ends within 40 s."""

    lookup_s: float = 5
    connect_s: float = 5
    answer_s: float = 10  # for a server's response
    callback_s: float = 15  # as long as the provider waits for the response to a callback
    listen_s: float = 10  # for another program that polls the bot's updates
    redis_s: float = 8
    subject_s: float = 29


@dataclass(slots=True)
class CheckContext:
    """The settings and the clients for the checks.

    `http` obeys the environment's proxies, as the product does. `heartbeats` is `None` if Redis cannot be
    read. `offsets`: server → seconds by which its clock is ahead of ours. `is_in_bot`: the running bot itself
    performs the checks.
    """

    settings: Settings
    timeouts: DoctorTimeouts
    redis: Redis
    http: httpx.AsyncClient
    trusted: ssl.SSLContext
    folder: Path
    is_in_bot: bool = False
    heartbeats: Sequence[Heartbeat] | None = None
    offsets: dict[str, float] = field(default_factory=dict)

    def processes(self, role: str) -> list[Heartbeat]:
        """Return the running processes with this role; none if Redis cannot be read."""
        return [it for it in self.heartbeats or () if it.role == role]

    async def note_clock(self, response: httpx.Response) -> None:
        """Note by the `Date` of a response how far the clock of Telegram or the separation API is ahead."""
        servers = {"Telegram": self.settings.telegram_api_url, "the API": self.settings.separation_api_url}
        with suppress(KeyError, ValueError, TypeError):
            # the header leaves out fractions of a second
            offset = parsedate_to_datetime(response.headers["date"]).timestamp() + 0.5 - time.time()
            for name, url in servers.items():
                if response.url.netloc == httpx.URL(url).netloc:
                    self.offsets[name] = offset
