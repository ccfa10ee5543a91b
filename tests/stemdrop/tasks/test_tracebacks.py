"""An unexpected exception is logged once, with its traceback and without secrets."""

import asyncio
import io

import httpx
import pytest
from product import BotRoom, Product, until
from running import running
from telegram.error import NetworkError

from sandbox.telegram.chats import User
from stemdrop.cli import run
from stemdrop.errors import StoreUnavailable
from stemdrop.observability.logging import set_up_logging
from stemdrop.storage.keys import GIVEN_UP
from stemdrop.tasks.engine import Periodic, Queue, Task
from stemdrop.tasks.tracebacks import Tracebacks


@pytest.fixture(params=["console", "json"])
def log(request: pytest.FixtureRequest, product: Product) -> io.StringIO:
    """What a process of this product writes at INFO."""
    stream = io.StringIO()
    set_up_logging("INFO", request.param, product.settings.secrets, stream)
    return stream


def fail_with_secrets(product: Product) -> None:
    """Raise an unexpected exception whose texts hold secrets, as does the one that caused it."""
    try:
        int(f"https://api.telegram.org/bot{product.bot.token}/getMe")
    except ValueError as error:
        key = product.settings.secret_key.get_secret_value()
        api_key = product.settings.separation_api_key.get_secret_value()
        raise LookupError(f"{key} {api_key} {product.settings.redis_url}") from error


def check(log: io.StringIO, product: Product) -> None:
    """The traceback is there once, and no secret."""
    text = log.getvalue()
    assert text.count("in fail_with_secrets") == 2  # of the exception and of its cause
    assert "The above exception was the direct cause" in text
    for secret in product.settings.secrets:
        assert secret not in text


async def test_a_task_that_fails(product: Product, log: io.StringIO) -> None:
    async def fail(argument: str) -> None:
        fail_with_secrets(product)

    await product.engine.add(Task.DELIVER, "job", "job")
    async with running(lambda stop: product.engine.work(Queue.DELIVERIES, {Task.DELIVER: fail}, stop)):
        await until(lambda: log.getvalue().count("task deliver:job failed") == 2)
    check(log, product)


async def test_periodic_work_that_fails(product: Product, log: io.StringIO) -> None:
    async def fail() -> None:
        fail_with_secrets(product)

    periodic = {"recovery": Periodic(0.05, fail)}
    async with running(lambda stop: product.engine.work(Queue.DELIVERIES, {}, stop, periodic=periodic)):
        await until(lambda: log.getvalue().count("recovery failed") == 3)
    check(log, product)


async def test_an_update_whose_handler_fails(
    room: BotRoom, alice: User, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(user_id: int, most: int = 0) -> None:
        fail_with_secrets(room.product)

    monkeypatch.setattr(room.product.store, "jobs_of", fail)
    await room.says(alice, "/cancel")
    check(log, room.product)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), NetworkError("reset"), httpx.ReadError("reset")])
def test_an_expected_error_has_no_traceback(error: Exception) -> None:
    assert Tracebacks().select("work", error) is None


def test_another_error_and_an_error_after_a_success_have_theirs() -> None:
    tracebacks = Tracebacks()
    first, second = LookupError("a"), ValueError("b")
    assert [tracebacks.select("work", it) for it in (first, first, second)] == [first, None, second]
    assert tracebacks.select("other work", second) is second
    tracebacks.forget("work")
    assert tracebacks.select("work", second) is second


async def test_a_command_of_the_operator_that_fails(
    product: Product, capfd: pytest.CaptureFixture[str]
) -> None:
    await product.redis.hset(GIVEN_UP, "update:1", f"no JSON, but {product.bot.token}")  # type: ignore[misc]
    settings = {
        "TELEGRAM_BOT_TOKEN": product.bot.token,
        "SEPARATION_API_KEY": product.settings.separation_api_key.get_secret_value(),
        "SECRET_KEY": product.settings.secret_key.get_secret_value(),
        "REDIS_URL": product.settings.redis_url,
    }
    assert await asyncio.to_thread(run, ["jobs"], settings) == 1
    text = capfd.readouterr().err
    assert text.count("Traceback (most recent call last)") == 1
    assert "JSONDecodeError" in text
    assert product.bot.token not in text
