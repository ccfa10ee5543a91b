"""Parts of stemdrop over the test's own Redis."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from builders import Clock
from doctor_fixture import DoctorFixture, open_doctor_fixture
from redis.asyncio import Redis
from telegram.ext import ExtBot

from sandbox.environment.redis_server import RedisServer
from sandbox.telegram.app import run_telegram
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.telegram_bot import build_bot
from stemdrop.settings import Settings, load_settings
from stemdrop.storage.connection import connect
from stemdrop.storage.flood_limiter import FloodLimiter
from stemdrop.storage.job_store import JobStore


@pytest.fixture(autouse=True)
def _durations_as_timedelta(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's coming behaviour; the old one warns."""
    monkeypatch.setenv("PTB_TIMEDELTA", "1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_doctor_fixture(
    redis_server: RedisServer, tone: bytes, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DoctorFixture]:
    folder = tmp_path_factory.mktemp("doctor")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(folder / "authority.pem"))
        async with open_doctor_fixture(redis_server.url, tone, folder) as doctor_fixture:
            yield doctor_fixture


@pytest_asyncio.fixture(loop_scope="module")
async def doctor_fixture(module_doctor_fixture: DoctorFixture) -> DoctorFixture:
    """A healthy set-up."""
    await module_doctor_fixture.reset()
    return module_doctor_fixture


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """As the product connects; emptied."""
    async with connect(redis_url) as client:
        yield client


@pytest.fixture
def store(redis: Redis, clock: Clock) -> JobStore:
    return JobStore(redis, clock)


@pytest.fixture
def is_local() -> bool:
    """Whether the local Telegram plays a server in local mode; tests override it by parametrising."""
    return False


@pytest.fixture
async def telegram(tmp_path: Path, is_local: bool) -> AsyncIterator[Telegram]:
    state = Telegram(tmp_path / "telegram", local=is_local)
    yield state
    await state.close()


@pytest.fixture
async def settings(telegram: Telegram, redis_url: str, is_local: bool) -> AsyncIterator[Settings]:
    """For the local Telegram, while it is served."""
    async with run_telegram(telegram) as url:
        yield load_settings(
            {
                "TELEGRAM_BOT_TOKEN": telegram.token,
                "TELEGRAM_API_URL": url,
                "TELEGRAM_LOCAL_MODE": str(is_local),
                "SEPARATION_API_KEY": "key",
                "SECRET_KEY": "secret",
                "REDIS_URL": redis_url,
            }
        )


@pytest.fixture
async def bot(settings: Settings, redis: Redis) -> AsyncIterator[ExtBot[float]]:
    """As the product builds it."""
    async with build_bot(settings, FloodLimiter(redis)) as running:
        yield running
