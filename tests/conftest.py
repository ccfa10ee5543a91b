"""The real things that tests run against: a Redis of our own, a provider, a world."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from house import House, open_house
from provider import KEY, Provider
from redis import Redis
from tones import mp3

from sandbox.app import run_telegram
from sandbox.redis_server import RedisServer
from sandbox.state import Telegram
from sandbox.world import World

SONG = Path(__file__).parent.parent / "sandbox" / "songs" / "demo-song.mp3"


@pytest.fixture
def song() -> Path:
    """The bundled song: 30 s, stereo, with title, performer and cover."""
    return SONG


@pytest.fixture(scope="session")
def tone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One second of a real, small MP3."""
    return mp3(tmp_path_factory.mktemp("tone") / "tone.mp3")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis per test process: never one that somebody else uses."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """That Redis, emptied."""
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
async def provider(tone: bytes) -> AsyncIterator[Provider]:
    """A separation API that does what the test says."""
    async with Provider(tone).run() as running:
        yield running


@pytest.fixture
async def telegram(tmp_path: Path) -> AsyncIterator[Telegram]:
    """The local Telegram, in process and not yet on the network."""
    state = Telegram(tmp_path / "telegram")
    yield state
    await state.close()


@pytest.fixture
async def house(redis_url: str, telegram: Telegram) -> AsyncIterator[House]:
    """All of the product's parts in process; the separation API is where nobody listens."""
    async with run_telegram(telegram) as url, open_house(redis_url, telegram, url) as opened:
        yield opened


@pytest.fixture
async def world(tmp_path: Path, provider: Provider) -> AsyncIterator[World]:
    """A world whose separation API is `provider`; the test starts the product's processes."""
    settings = provider_settings(provider)
    async with World(tmp_path / "world", settings=settings, separator=False) as running:
        yield running


def provider_settings(provider: Provider) -> dict[str, str]:
    """How the product finds the provider."""
    return {"SEPARATION_API_URL": provider.url, "SEPARATION_API_KEY": KEY, "LOG_LEVEL": "DEBUG"}
