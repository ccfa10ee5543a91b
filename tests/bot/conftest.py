"""The bot in process: an Application of the real parts, fed with what people do in the local Telegram."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from product import BotRoom, Product, open_product

from sandbox.environment.redis_server import RedisServer
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import User
from sandbox.telegram.person_actions import Telegram

BOSS = 9_000_001


@pytest.fixture
async def room(product: Product) -> AsyncIterator[BotRoom]:
    application = product.application()
    await application.initialize()
    yield BotRoom(product, application)
    await application.shutdown()


@pytest.fixture
async def private_room(redis_url: str, telegram: Telegram) -> AsyncIterator[BotRoom]:
    """A bot for those who were let in, run by `boss`; the separation API is where nobody listens."""
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
