"""A set-up that is well in every respect, for the doctor to look at, and for a test to spoil in one.

    async with open_clinic(...) as clinic:
        clinic.environ["SECRET_KEY"] = "short"
        findings = await clinic.examine()

The webhook is the real one behind TLS, Redis a real one, Telegram the sandbox's, the separation API
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
from wire import Wire

from sandbox.environment.server import serve
from sandbox.telegram.app import run_telegram
from sandbox.telegram.person_actions import Telegram
from stemdrop.doctor.checkup import examine
from stemdrop.doctor.examination import Patience
from stemdrop.doctor.report import Finding
from stemdrop.domain.jobs import Mode
from stemdrop.settings import load_settings
from stemdrop.storage.heartbeats import Heartbeat, Heartbeats
from stemdrop.storage.keys import PRESENT
from webhook.app import create_app

ADMIN = 4711
# Where nobody is waited for in vain, long enough for any machine; so slow may a command of Redis' be.
_PATIENT = Patience(listen_s=10, callback_s=30, answer_s=30, connect_s=30, redis_s=30, subject_s=60)
_SLOW_MS = 5000


class DoctorFixture:
    """`environ`, `patience`, `folder`, and what is in Redis are a test's to change; `reset` undoes it."""

    def __init__(
        self, product: Product, provider: Provider, certificates: Certificates, public_url: str, folder: Path
    ) -> None:
        self.product = product
        self.provider = provider
        self.certificates = certificates
        self._folder = folder
        self._sender: Telegram | None = None  # that knows the song of the job that is there
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
        """All is well again."""
        self.environ = dict(self._environ)
        self.patience = _PATIENT
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
        """Somebody has sent that Telegram's bot a song, and there is a job of it."""
        self._sender = telegram
        song = self._folder / "song.mp3"
        song.write_bytes(self.provider.stem)
        message = await telegram.send_file(telegram.add_user("Alice").id, song)
        telegram.updates.drop()
        job = new_job(message)
        await self.product.store.add(job, once=job.id)
        await self.product.store.pick(job, Mode.SEPARATE_VOCAL, "", 0)

    async def heartbeats(self, *roles: str, release: str = "", host: str = "host-1") -> None:
        """These processes are there, all of that version and on that machine, and no others."""
        await self.product.redis.delete(PRESENT)
        now = time.time()
        for number, role in enumerate(roles):
            it = Heartbeat(role, host, 100 + number, release or version("stemdrop"), now, now)
            await Heartbeats(self.product.redis).note(it)

    async def add_presence(self, role: str, trouble: str, age_s: float = 3600) -> None:
        """This one too, which cannot do its work."""
        now = time.time()
        it = Heartbeat(role, "host-2", 100, version("stemdrop"), now - age_s, now, trouble)
        await Heartbeats(self.product.redis).note(it)

    async def examine(self) -> list[Finding]:
        """What the doctor finds now."""
        return await examine(load_settings(self.environ), self.patience, self.folder)

    def webhook(self, **settings: object) -> ASGIApp:
        """The webhook's application with other settings."""
        changed = self.product.settings.model_copy(update=settings)
        return create_app(self.product.changed(settings=changed))

    @asynccontextmanager
    async def behind(self, app: ASGIApp, certificate: str = "good") -> AsyncIterator[None]:
        """PUBLIC_URL leads to this, over TLS with that certificate."""
        async with serve(app) as url, self.wire(url, self.certificates.server(certificate)) as port:
            self.environ["PUBLIC_URL"] = f"https://127.0.0.1:{port}"
            yield

    @asynccontextmanager
    async def wire(
        self, url: str, tls: ssl.SSLContext | None = None, change: Callable[[bytes], bytes] = bytes
    ) -> AsyncIterator[int]:
        """The port of a way to that server which does something to what it says."""
        port = urlsplit(url).port
        assert port
        async with Wire(lambda: [port], tls=tls, change=change).run() as wire:
            yield wire.port


@asynccontextmanager
async def open_clinic(redis_url: str, tone: bytes, folder: Path) -> AsyncIterator[DoctorFixture]:
    """Everything put up, and well."""
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
