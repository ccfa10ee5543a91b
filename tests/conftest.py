"""Options of the suite, and the fixtures that most tests share."""

import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import bot_api_types
import made_once
import parallel
import pytest
import redis_connections
import redis_servers
import report
import waits
from fileserver import FileServer
from library_costs import describe_files_once, load_locales, reduce_library_costs
from product import BotRoom, Product, one_authority, open_product
from provider import KEY, Provider
from redis import Redis
from report import leave_out, pytest_configure, pytest_terminal_summary  # noqa: F401 - hooks
from tones import mp3

from sandbox.environment.local_environment import LocalEnvironment
from sandbox.environment.redis_server import RedisServer
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message, User
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat import telegram_bot
from stemdrop.storage import connection

reduce_library_costs()
describe_files_once()
redis_connections.name_their_makers()
waits.wait_for_http()
bot_api_types.watch_local_telegrams()
telegram_bot.UNAVAILABLE_PAUSES_S = (0.001,) * 3
# On a busy machine Redis or a test's process may stand still for seconds.
connection.REDIS_COMMAND_TIMEOUT_S = connection.REDIS_CONNECT_TIMEOUT_S = 60
# Set once for all servers that tests start, since each change of a level empties the caches of all loggers.
logging.getLogger("uvicorn.error").setLevel(logging.WARNING)

# Without bytecode each run compiles all tests anew, and each process that a test starts all of the product.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

BOSS = 9_000_001
SONG = Path(__file__).parent.parent / "sandbox" / "songs" / "demo-song.mp3"


# A trained model on this machine must not change what the tests see.
os.environ.setdefault("ENGINE", "light")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the suite."""
    parallel.add_option(parser)
    report.add_options(parser)


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests in several processes if `-n` asks for it."""
    return parallel.run_tests(session)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of `make faults`."""
    leave_out(config, items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Load what most tests need before the workers are forked, and keep it out of garbage collections.

    What was imported and collected stays to the end, and a test leaves little garbage.
    """
    load_locales()
    made_once.share_in(session.config._tmp_path_factory.mktemp("made-once"))  # type: ignore[attr-defined]
    if session.config.getoption("--workers") > 1:
        bot_api_types.load_types()
    redis_servers.programs()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)


@pytest.fixture(scope="session", autouse=True)
def _newest_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let tests and the product's environment start the newest Redis server that is available."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PATH", redis_servers.search_path(redis_servers.programs()[-1], tmp_path_factory.mktemp("newest"))
        )
        yield


@pytest.fixture(scope="session", autouse=True)
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let HTTP clients trust one authority only; tests that check certificates name their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(one_authority(tmp_path_factory.mktemp("tls"))))
        yield


@pytest.fixture(autouse=True)
def _sent_types() -> Iterator[None]:
    """Check that everything that a local Telegram sends has the Bot API's types."""
    yield
    assert bot_api_types.take_problems() == []


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Undo after each test what a command has changed at the loggers."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    named = [log for log in logging.root.manager.loggerDict.values() if isinstance(log, logging.Logger)]
    levels = [log.level for log in named]
    yield
    root.handlers[:] = handlers
    if root.level != level:
        root.setLevel(level)
    for log, before in zip(named, levels, strict=True):
        if log.level != before:
            log.setLevel(before)


@pytest.fixture
def heeded() -> Iterator[None]:
    """Handle Ctrl-C, which a suite in the background ignores, and so would the processes that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
    """Run one Redis per test process, of the oldest version that is available."""
    oldest = redis_servers.search_path(redis_servers.programs()[0], tmp_path_factory.mktemp("oldest"))
    with RedisServer(tmp_path_factory.mktemp("redis"), environment={"PATH": oldest}) as server:
        yield server


@pytest.fixture(scope="session")
def _redis_client(redis_server: RedisServer) -> Iterator[Redis]:
    with Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def redis_url(redis_server: RedisServer, _redis_client: Redis) -> str:
    """The URL of `redis_server`, emptied before the test."""
    _redis_client.flushall()
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
def product_options() -> dict[str, Any]:
    """The options of `open_product` for `product`; a module may override them."""
    return {}


@pytest.fixture
async def product(
    redis_url: str, telegram: Telegram, product_options: dict[str, Any]
) -> AsyncIterator[Product]:
    """All of the product's parts in this process; nothing listens at the separation API's address."""
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, **product_options) as opened,
    ):
        yield opened


@pytest.fixture
async def provided_product(redis_url: str, telegram: Telegram, provider: Provider) -> AsyncIterator[Product]:
    """Like `product`, but the separation API is `provider`."""
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, api_url=provider.url) as opened,
    ):
        yield opened


@pytest.fixture
async def own_separator(tone: bytes) -> AsyncIterator[Provider]:
    """The second provider of `several_providers`."""
    async with Provider(tone).run() as running:
        yield running


@pytest.fixture
async def several_providers(
    redis_url: str, telegram: Telegram, provider: Provider, own_separator: Provider
) -> AsyncIterator[Product]:
    """Like `product`, but `provider` is asked first, then `own_separator`. The admin is user 555, if any."""
    settings: dict[str, Any] = {
        "PROVIDERS": "sunoapi,selfhosted",
        "SELFHOSTED_API_URL": own_separator.url,
        "PUBLIC_URL": "",
        "ADMINS": "555",
    }
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, api_url=provider.url, **settings) as opened,
    ):
        yield opened


@pytest.fixture
async def room(product: Product) -> AsyncIterator[BotRoom]:
    """The bot of `product`, which handles people's updates when a test lets it."""
    application = product.application()
    await application.initialize()
    yield BotRoom(product, application)
    await application.shutdown()


@pytest.fixture
async def private_room(redis_url: str, telegram: Telegram) -> AsyncIterator[BotRoom]:
    """An invitation-only bot whose admin is `boss`; nothing listens at the separation API's address."""
    async with (
        run_telegram(telegram) as url,
        open_product(
            redis_url, telegram, url, ACCESS="invite", ADMINS=str(BOSS), DAILY_CREDITS="20"
        ) as product,
    ):
        application = product.application()
        await application.initialize()
        yield BotRoom(product, application)
        await application.shutdown()


@pytest.fixture
async def breakable(tmp_path: Path, telegram: Telegram) -> AsyncIterator[tuple[RedisServer, BotRoom]]:
    """A bot with a Redis of its own, for tests that break it."""
    async with (
        RedisServer(tmp_path / "redis") as redis,
        run_telegram(telegram) as url,
        open_product(redis.url, telegram, url) as product,
    ):
        application = product.application()
        await application.initialize()
        yield redis, BotRoom(product, application)


@pytest.fixture
def boss(telegram: Telegram) -> User:
    return telegram.add_user("Boss", user_id=BOSS)


@pytest.fixture
def mei(telegram: Telegram) -> User:
    return telegram.add_user("Mei", language_code="zh-hans")


@pytest.fixture
def alice(telegram: Telegram) -> User:
    return telegram.add_user("Alice")


@pytest.fixture
async def files() -> AsyncIterator[FileServer]:
    """A server from which stems are downloaded."""
    async with FileServer().run() as running:
        yield running


@pytest.fixture
async def sent(telegram: Telegram, alice: User, song: Path) -> Message:
    """Alice's message with the song."""
    return await telegram.send_file(alice.id, song)


@pytest.fixture
async def environment(tmp_path: Path, provider: Provider) -> AsyncIterator[LocalEnvironment]:
    """A local environment whose separation API is `provider`; the test starts the product's processes."""
    settings = provider_settings(provider)
    async with LocalEnvironment(tmp_path / "environment", settings=settings, separator=False) as running:
        yield running


def provider_settings(provider: Provider) -> dict[str, str]:
    """Return the settings by which the product finds the provider."""
    return {"SEPARATION_API_URL": provider.url, "SEPARATION_API_KEY": KEY, "LOG_LEVEL": "DEBUG"}
