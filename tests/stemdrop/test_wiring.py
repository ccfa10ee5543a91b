"""Calls at a process's start are repeated until the servers that they need can be reached."""

import asyncio

import pytest
from product import BotRoom, until
from waits import WAIT_S

from bot.introduction import introduce
from sandbox.environment.redis_server import RedisServer
from stemdrop.wiring import call_until_done


async def test_a_start_without_redis_names_redis_and_not_telegram(
    breakable: tuple[RedisServer, BotRoom], caplog: pytest.LogCaptureFixture
) -> None:
    redis, room = breakable
    product, stop = room.product, asyncio.Event()
    redis.kill()
    starting = asyncio.create_task(
        call_until_done(lambda: introduce(product.bot, product.translations, product.users), stop)
    )
    await until(lambda: "next try" in caplog.text, timeout_s=90)
    assert "Redis cannot be reached" in caplog.text
    assert "Telegram" not in caplog.text
    redis.start()
    assert await asyncio.wait_for(starting, WAIT_S)
