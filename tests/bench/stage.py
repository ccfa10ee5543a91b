"""Redis, the stand-ins, and the product's processes as an operator starts them."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import certifi
from certificates import Certificates
from redis.asyncio import Redis
from stand_in import StandIn

from sandbox.environment.local_environment import LocalEnvironment
from sandbox.environment.ports import free_port
from sandbox.environment.process import Process

_UNLIMITED = Path(__file__).with_name("unlimited.py")


class _UnlimitedProcess(Process):
    """Telegram's limits do not hold it back."""

    def _command(self) -> list[str]:
        return [sys.executable, "-P", str(_UNLIMITED), *self.arguments]


@dataclass(frozen=True, slots=True)
class Stage:
    """The parts of one measurement. `folder` is removed at its end."""

    folder: Path
    environment: LocalEnvironment
    redis: Redis
    stand_in: StandIn

    @property
    def redis_url(self) -> str:
        return self.environment.redis.url

    @property
    def webhook_port(self) -> int:
        """The port of the webhook to which PUBLIC_URL leads."""
        return urlsplit(self.environment.public_url).port or 0

    async def start(self, command: str, *, is_limited: bool = True, **settings: str) -> Process:
        """Start a process from nothing and wait until it is ready."""
        self.environment.process_class = Process if is_limited else _UnlimitedProcess
        name = f"{command}-{free_port()}"  # a log of its own
        return await self.environment.start(command, name, settings)


@asynccontextmanager
async def open_stage(
    folder: Path, files: Mapping[str, bytes] | None = None, *, has_tls: bool = False, **settings: str
) -> AsyncIterator[Stage]:
    """Open it; `files` are the stems that the stand-in serves, over HTTPS with `has_tls`."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - nothing else runs yet
    certificates = Certificates(folder) if has_tls else None
    with StandIn(files or {}).run(certificates.server("stand-in") if certificates else None) as stand_in:
        if certificates:  # beside all that a process holds elsewhere, too
            trusted = folder / "trusted.pem"
            trusted.write_text(Path(certifi.where()).read_text() + certificates.authority.read_text())  # noqa: ASYNC240
            settings["SSL_CERT_FILE"] = str(trusted)
        named = {
            "TELEGRAM_API_URL": stand_in.url,
            "SEPARATION_API_URL": stand_in.url,
            "SEPARATION_API_KEY": "bench",
            "LOG_LEVEL": "INFO",
        }
        async with (
            LocalEnvironment(
                folder / "environment", settings={**named, **settings}, separator=False
            ) as environment,
            Redis.from_url(environment.redis.url) as redis,
        ):
            yield Stage(folder, environment, redis, stand_in)
            if stand_in.errors:
                raise RuntimeError(f"the stand-in failed: {stand_in.errors[:3]}")
            bad = [
                line for line in environment.logs().splitlines() if " ERROR " in line or "Traceback" in line
            ]
            if bad:
                raise RuntimeError("\n".join(bad[:3]))
