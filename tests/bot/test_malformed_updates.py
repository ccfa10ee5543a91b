"""An update that cannot be parsed stops neither the bot nor the updates beside it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from product import Product, open_product, until
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.run import run_bot
from bot.update_health import UpdateHealth, watch_webhook
from sandbox.environment.server import serve
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import User
from sandbox.telegram.person_actions import Telegram
from stemdrop.wiring import greet_telegram
from webhook.app import create_app

WORDS = "a secret of the sender"
_USER = {"id": 5, "is_bot": False, "first_name": "Eve"}
_CHAT = {"id": 5, "type": "private", "first_name": "Eve"}
_MESSAGE = {"message_id": 1, "date": 1_700_000_000, "chat": _CHAT, "from": _USER, "text": WORDS}
# What the library fails to parse, each with a number of its own.
UNPARSABLE: list[dict[str, Any]] = [
    {"message": {**_MESSAGE, "chat": {"id": 5}}},
    {"message": {**_MESSAGE, "chat": "private"}},
    {"message": {**_MESSAGE, "chat": [[[]]]}},
    {"message": {**_MESSAGE, "from": {"id": 5}}},
    {"message": {**_MESSAGE, "from": 5}},
    {"message": {**_MESSAGE, "date": WORDS}},
    {"message": {**_MESSAGE, "date": 1e300}},
    {"message": {**_MESSAGE, "date": 10**30}},
    {"message": {**_MESSAGE, "entities": [1, {"type": 5}]}},
    {"message": {**_MESSAGE, "document": {"file_name": WORDS}}},
    {"message": {**_MESSAGE, "reply_to_message": {"message_id": 1}}},
    {"message": WORDS},
    {"message": 7},
    {"callback_query": {"id": "1", "data": WORDS}},
    {"callback_query": {"id": "1", "from": _USER, "chat_instance": "1", "message": [1]}},
]
# What it parses although no handler can do anything with it.
ODD: list[dict[str, Any]] = [
    {},
    {"message": None},
    {"novelty": {"deep": [[[{"deeper": WORDS}]]]}},
    {"message": {**_MESSAGE, "novelty": {"text": WORDS}, "text": None}},
    {"message": {**_MESSAGE, "chat": {**_CHAT, "id": 10**30}}},
    {"message": {**_MESSAGE, "from": {**_USER, "language_code": 5}}},
    {"message": {**_MESSAGE, "text": 5}},
    {"message": {**_MESSAGE, "from": None}},
]
WITHOUT_NUMBER: list[Any] = [
    *({}, [], None, WORDS, 7, {"message": _MESSAGE}),
    *({"update_id": number} for number in ("12", None, True, -5, 1.5, 10**30, [1])),
]


@asynccontextmanager
async def running(product: Product) -> AsyncIterator[None]:
    """The process `stemdrop bot` runs while the block lasts."""
    stop = asyncio.Event()
    bot = asyncio.create_task(run_bot(product, UpdateHealth(), stop))
    try:
        yield
        assert not bot.done()
    finally:
        stop.set()
        await bot


def add_all(telegram: Telegram, alice: User) -> list[int]:
    """Queue every malformed update, a good one before and after each; return the unparsable ones' numbers."""
    numbers = []
    for number, update in enumerate([*UNPARSABLE, *ODD, *WITHOUT_NUMBER]):
        telegram.send_text(alice.id, "/help")
        if number < len(UNPARSABLE):
            numbers.append(telegram.updates.next_id)
        if number < len(UNPARSABLE) + len(ODD):
            telegram.updates.add_raw({"update_id": telegram.updates.next_id, **update})
        else:
            telegram.updates.add_raw(update)
    telegram.send_text(alice.id, "/help")
    return numbers


async def check_all(
    product: Product, alice: User, numbers: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """Every good update is answered once; every other is in the log and among the dead letters."""
    telegram = product.telegram
    good = len(UNPARSABLE) + len(ODD) + len(WITHOUT_NUMBER) + 1
    await until(lambda: not telegram.updates.pending and len(telegram.bot_messages(alice.id)) >= good)
    letters: dict[str, str] = {}
    async with asyncio.timeout(120):
        while not {f"update:{number}" for number in numbers} <= letters.keys():
            letters = {letter.key: letter.why for letter in await product.dead_letters.all()}
    assert len(telegram.bot_messages(alice.id)) == good
    for number in numbers:
        assert f"update {number} cannot be parsed" in caplog.text
    assert sum(key.startswith("update:unnumbered-") for key in letters) == len(WITHOUT_NUMBER)
    ours = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert not [line for line in ours if WORDS in line]
    assert WORDS not in str(letters)


async def test_malformed_updates_are_passed_over_and_all_others_are_handled(
    product: Product, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = add_all(product.telegram, alice)
    async with running(product):
        await check_all(product, alice, numbers, caplog)
    caplog.clear()
    async with running(product):  # after a restart they are gone
        product.telegram.send_text(alice.id, "/help")
        await until(lambda: not product.telegram.updates.pending)
    assert "cannot be parsed" not in caplog.text


async def test_updates_are_fetched_when_their_numbers_begin_anew(product: Product, alice: User) -> None:
    """After a week without updates Telegram chooses the next number at random, so it may be lower."""
    telegram = product.telegram
    async with running(product):
        telegram.send_text(alice.id, "/help")
        await until(lambda: len(telegram.bot_messages(alice.id)) == 1 and not telegram.updates.pending)
        telegram.updates.next_id = 5000
        telegram.send_text(alice.id, "/help")
        await until(lambda: len(telegram.bot_messages(alice.id)) == 2 and not telegram.updates.pending)


async def test_malformed_updates_by_webhook_are_passed_over_and_all_others_are_handled(
    redis_url: str, telegram: Telegram, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, TELEGRAM_UPDATES="webhook") as product,
        serve(create_app(product)) as webhook_url,
    ):
        numbers = add_all(telegram, alice)
        async with running(product):
            await telegram.wait_for(lambda: telegram.updates.webhook is not None)
            secret = product.links.updates_secret
            await product.bot.set_webhook(f"{webhook_url}/telegram", secret_token=secret)
            await check_all(product, alice, numbers, caplog)


@pytest.mark.parametrize("is_first", [True, False])
async def test_updates_without_numbers_hold_up_no_later_update(
    product: Product, alice: User, is_first: bool
) -> None:
    """Also where the bot knows no number yet by which Telegram would forget them."""
    telegram = product.telegram
    async with running(product):
        if not is_first:
            telegram.send_text(alice.id, "/help")
            await telegram.wait_for(lambda: len(telegram.bot_messages(alice.id)) == 1)
        telegram.updates.add_raw({"message": _MESSAGE})
        telegram.updates.add_raw([])
        if not is_first:
            await telegram.wait_for(lambda: not telegram.updates.pending)
        telegram.send_text(alice.id, "/help")
        await telegram.wait_for(lambda: not telegram.updates.pending)
        await telegram.wait_for(lambda: len(telegram.bot_messages(alice.id)) == (1 if is_first else 2))


@asynccontextmanager
async def telegram_that_answers(*results: object) -> AsyncIterator[tuple[str, list[str]]]:
    """A server of the Bot API that gives these results in turn, and the last one again and again."""
    left, methods = list(results), list[str]()

    async def answer(request: Request) -> JSONResponse:
        methods.append(request.url.path.rpartition("/")[2])
        result = left.pop(0) if len(left) > 1 else left[0]
        return JSONResponse({"ok": True, "result": result})

    async with serve(Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])) as url:
        yield url, methods


GOOD_ME = {"id": 1, "is_bot": True, "first_name": "Stems", "username": "stems_bot"}


@pytest.mark.parametrize("bad", [{"id": 1, "first_name": "Stems"}, [], 5])
async def test_an_answer_to_get_me_that_cannot_be_parsed_is_one_line_and_is_asked_for_again(
    product: Product, telegram: Telegram, redis_url: str, bad: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        telegram_that_answers(bad, GOOD_ME) as (url, methods),
        open_product(redis_url, telegram, url) as other,
    ):
        await other.bot.shutdown()
        caplog.clear()
        assert await greet_telegram(other.bot, asyncio.Event())
    assert methods == ["getMe"] * 2
    (line,) = [record for record in caplog.records if record.name == "stemdrop.wiring"]
    assert "next try in 1 s: its answer to getMe cannot be parsed" in line.getMessage()
    assert line.exc_info is None


async def test_an_answer_about_the_webhook_that_cannot_be_parsed_is_trouble(
    telegram: Telegram, redis_url: str
) -> None:
    async with (
        telegram_that_answers({"url": 5, "last_error_date": []}) as (url, _),
        open_product(redis_url, telegram, url) as product,
    ):
        health, stop = UpdateHealth(), asyncio.Event()
        watching = asyncio.create_task(watch_webhook(product.bot, url, health, stop))
        await until(lambda: "getWebhookInfo cannot be parsed" in health.trouble() or watching.done())
        stop.set()
        await watching


@pytest.mark.parametrize("answer", [b"[" * 100_000, b"[]", b"null", b"\xff", b'{"ok": true}'])
async def test_an_answer_to_a_poll_that_is_no_answer_is_retried(
    redis_url: str, telegram: Telegram, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def reply(request: Request) -> Response:
        return Response(answer)

    async with (
        serve(Starlette(routes=[Route("/{path:path}", reply, methods=["POST"])])) as url,
        open_product(redis_url, telegram, url) as product,
    ):
        health, stop = UpdateHealth(), asyncio.Event()
        polling = asyncio.create_task(product.poller(health).run(stop))
        await until(lambda: "updates cannot be fetched" in health.trouble() or polling.done())
        stop.set()
        await polling
