"""A healthy set-up for the doctor to check, which a test misconfigures.

    async with open_doctor_fixture(...) as doctor_fixture:
        doctor_fixture.environ["SECRET_KEY"] = "short"
        findings = await doctor_fixture.run_checks()

The webhook is the real one behind TLS, Redis is real, Telegram is the sandbox's and the separation API
`provider.py`; everything is on loopback.
"""

import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from certificates import Certificates
from product import NOBODY, SECRET, Product, new_job, open_product
from provider import KEY, Provider
from starlette.types import ASGIApp
from tcp_proxy import TcpProxy

from sandbox.environment.server import serve
from sandbox.telegram.app import run_telegram
from sandbox.telegram.person_actions import Telegram
from stemdrop.doctor.checks import run_checks
from stemdrop.doctor.context import DoctorTimeouts
from stemdrop.doctor.report import Finding
from stemdrop.domain.jobs import Mode
from stemdrop.settings import load_settings
from stemdrop.storage.heartbeats import Heartbeat, Heartbeats
from stemdrop.storage.keys import PRESENT
from webhook.app import create_app
from webhook.mixer.app import open_segments

ADMIN = 4711
# Long enough for any machine, where nothing times out.
_LONG_TIMEOUTS = DoctorTimeouts(
    listen_s=10, callback_s=30, answer_s=30, connect_s=30, redis_s=30, subject_s=60
)
_SLOW_MS = 5000


class DoctorFixture:
    """The set-up. A test may change `environ`, `timeouts`, `folder` and Redis; `reset` restores them."""

    def __init__(
        self, product: Product, provider: Provider, certificates: Certificates, public_url: str, folder: Path
    ) -> None:
        self.product = product
        self.provider = provider
        self.certificates = certificates
        self._folder = folder
        self._sender: Telegram | None = None  # the Telegram that knows the song of the job in Redis
        settings = product.settings
        self._environ = {
            "TELEGRAM_BOT_TOKEN": settings.telegram_bot_token.get_secret_value(),
            "TELEGRAM_API_URL": settings.telegram_api_url,
            "SEPARATION_API_URL": provider.url,
            "SEPARATION_API_KEY": KEY,
            "SECRET_KEY": SECRET,
            "PUBLIC_URL": public_url,
            "REDIS_URL": settings.redis_url,
            "ADMINS": str(ADMIN),
        }

    async def reset(self) -> None:
        """Restore the healthy state."""
        self.environ = dict(self._environ)
        self.timeouts = _LONG_TIMEOUTS
        self.folder = self._folder
        self.provider.clear()
        telegram = self.product.telegram
        await telegram.updates.set_webhook(None)
        telegram.updates.drop()
        if self._sender is not telegram:
            await self.product.redis.flushall()
            await self.sends(telegram)
        await self.heartbeats("bot", "webhook", "worker")

    async def sends(self, telegram: Telegram) -> None:
        """Let a user send a song to the bot of this Telegram, and make a job of it."""
        self._sender = telegram
        song = self._folder / "song.mp3"
        song.write_bytes(self.provider.stem)
        message = await telegram.send_file(telegram.add_user("Alice").id, song)
        telegram.updates.drop()
        job = new_job(message)
        await self.product.store.add(job, once=job.id)
        await self.product.store.pick(job, Mode.SEPARATE_VOCAL, "", 0)

    async def heartbeats(self, *roles: str, release: str = "", host: str = "host-1") -> None:
        """Replace all heartbeats: one process per role, with this version and host."""
        await self.product.redis.delete(PRESENT)
        now = time.time()
        for number, role in enumerate(roles):
            it = Heartbeat(role, host, 100 + number, release or version("stemdrop"), now, now)
            await Heartbeats(self.product.redis).note(it)

    async def add_heartbeat(self, role: str, trouble: str, age_s: float = 3600) -> None:
        """Add the heartbeat of a process with a problem."""
        now = time.time()
        it = Heartbeat(role, "host-2", 100, version("stemdrop"), now - age_s, now, trouble)
        await Heartbeats(self.product.redis).note(it)

    async def run_checks(self) -> list[Finding]:
        """Run the doctor's checks."""
        return await run_checks(load_settings(self.environ), self.timeouts, self.folder)

    def webhook(self, **settings: object) -> ASGIApp:
        """Return the webhook's application with changed settings."""
        changed = self.product.settings.model_copy(update=settings)
        product = self.product.changed(settings=changed)
        return create_app(product, segments=open_segments(product))

    @asynccontextmanager
    async def behind(self, app: ASGIApp, certificate: str = "good") -> AsyncIterator[None]:
        """Point PUBLIC_URL to this application, over TLS with this certificate."""
        async with serve(app) as url, self.wire(url, self.certificates.server(certificate)) as port:
            self.environ["PUBLIC_URL"] = f"https://127.0.0.1:{port}"
            yield

    @asynccontextmanager
    async def wire(
        self, url: str, tls: ssl.SSLContext | None = None, change: Callable[[bytes], bytes] = bytes
    ) -> AsyncIterator[int]:
        """Return the port of a proxy to that server which changes its responses."""
        port = urlsplit(url).port
        assert port
        async with TcpProxy(lambda: [port], tls=tls, change=change).run() as wire:
            yield wire.port


@asynccontextmanager
async def open_doctor_fixture(redis_url: str, tone: bytes, folder: Path) -> AsyncIterator[DoctorFixture]:
    """Start all parts of the set-up in a healthy state."""
    certificates = Certificates(folder)
    telegram = Telegram(folder / "telegram")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stemdrop.doctor.redis_server.SLOW_MS", _SLOW_MS)
        async with (
            run_telegram(telegram) as telegram_url,
            Provider(tone).run() as provider,
            open_product(redis_url, telegram, telegram_url, TELEGRAM_UPDATES="webhook") as product,
        ):
            doctor_fixture = DoctorFixture(product, provider, certificates, NOBODY, folder)
            await doctor_fixture.reset()
            async with doctor_fixture.behind(doctor_fixture.webhook()):
                doctor_fixture._environ["PUBLIC_URL"] = doctor_fixture.environ["PUBLIC_URL"]
                yield doctor_fixture
