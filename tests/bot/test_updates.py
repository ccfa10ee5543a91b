"""Updates by polling: in Redis before Telegram is told that they came, and no trouble ends it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from product import BotRoom, Product, open_product, until
from running import running
from telegram.error import Conflict, InvalidToken

from bot.polling import ALLOWED_UPDATES, POLL_S
from bot.updates import MAX_TRIES, UNTOLD_TRIES
from sandbox.environment.redis_server import RedisServer
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.errors import TryLater
from stemdrop.storage.keys import GIVEN_UP
from stemdrop.tasks.engine import Engine, Queue, Task

TROUBLE = "Something went wrong on my side. Please try again in a minute."


def working(engine: Engine, run: Callable[[str], Awaitable[None]]) -> AbstractAsyncContextManager[None]:
    """A bot takes updates from the engine while the block lasts."""
    return running(lambda stop: engine.work(Queue.UPDATES, {Task.UPDATE: run}, stop))


async def test_a_song_is_answered_by_poll_and_engine(room: BotRoom, alice: User, song: Path) -> None:
    async with (
        running(room.product.poller().run),
        working(room.product.engine, room.product.updates(room.application).run),
    ):
        await room.telegram.send_file(alice.id, song)
        menu = await room.telegram.wait_for(lambda: room.telegram.bot_messages(alice.id))
        query = room.telegram.tap(alice.id, menu[0].message_id, menu[0].buttons[0]["callback_data"])
        await room.telegram.wait_for(lambda: query.is_answered)


async def test_confirmed_updates_wait_for_a_bot(product: Product, telegram: Telegram, alice: User) -> None:
    handled: list[str] = []

    async def handle(update_json: str) -> None:
        handled.append(json.loads(update_json)["message"]["text"])

    async with running(product.poller().run):
        texts = [f"text {number}" for number in range(5)]
        for text in texts:
            telegram.send_text(alice.id, text)
        await telegram.wait_for(lambda: not telegram.updates.pending)
    assert handled == []
    async with working(product.engine, handle):
        await until(lambda: len(handled) == 5)
    assert sorted(handled) == texts


async def test_an_update_that_redis_did_not_store_is_not_confirmed(
    tmp_path: Path, telegram: Telegram, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    handled: list[str] = []

    async def handle(update_json: str) -> None:
        handled.append(json.loads(update_json)["message"]["text"])

    async with (
        RedisServer(tmp_path / "redis") as redis,
        run_telegram(telegram) as url,
        open_product(redis.url, telegram, url) as product,
    ):
        await asyncio.to_thread(redis.kill)
        async with running(product.poller().run):
            telegram.send_text(alice.id, "hello")
            await until(lambda: "updates cannot be stored" in caplog.text)
            assert len(telegram.updates.pending) == 1
            await asyncio.to_thread(redis.start)
            await telegram.wait_for(lambda: not telegram.updates.pending)
        async with working(product.engine, handle):
            await until(lambda: handled == ["hello"])


@pytest.mark.parametrize("fault", [FaultKind.BAD_GATEWAY, FaultKind.RESET_BEFORE])
async def test_polling_survives_failures_of_telegram(
    product: Product, telegram: Telegram, alice: User, fault: FaultKind
) -> None:
    order = telegram.faults.add(fault, method="getUpdates")
    telegram.send_text(alice.id, "hello")
    async with running(product.poller().run):
        await telegram.wait_for(lambda: not telegram.updates.pending)
    assert order.hits == 1


async def test_a_second_poller_is_logged_and_polling_goes_on(
    product: Product, telegram: Telegram, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(product.poller().run):
        await telegram.wait_for(lambda: telegram.updates.is_awaited)
        other = asyncio.create_task(product.bot.get_updates(timeout=20))  # throws ours out
        await until(lambda: "another program polls with this bot's token" in caplog.text)
        with pytest.raises(Conflict):  # and is thrown out when ours comes back
            await other
        telegram.send_text(alice.id, "hello")
        await telegram.wait_for(lambda: not telegram.updates.pending)


async def test_polling_ends_when_telegram_refuses_the_token(product: Product, telegram: Telegram) -> None:
    telegram.token = "123:another-token-altogether"
    with pytest.raises(InvalidToken):
        await product.poller().run(asyncio.Event())


async def test_polling_stops_at_once_while_a_poll_is_open(product: Product, telegram: Telegram) -> None:
    async with asyncio.timeout(POLL_S / 2):
        async with running(product.poller().run):
            await telegram.wait_for(lambda: telegram.updates.is_awaited)


async def test_only_the_kinds_that_the_bot_handles_are_requested(
    product: Product, telegram: Telegram, alice: User
) -> None:
    telegram.send_text(alice.id, "hello")
    async with running(product.poller().run):
        await telegram.wait_for(lambda: not telegram.updates.pending)
        telegram.updates.add("message_reaction", {})
        assert telegram.updates.pending == []
        assert telegram.updates.allowed_kinds == ALLOWED_UPDATES


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Not of other threads, nor of what earlier tests have left."""
    heard = [record for record in caplog.records if record.name.startswith(("bot", "stemdrop", "telegram"))]
    return [record.getMessage() for record in heard if record.levelname == "ERROR"]


async def test_waiting_for_telegrams_limits_is_not_a_failed_try(
    room: BotRoom, alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")  # the library warns of its coming behaviour
    handler = room.product.updates(room.application)
    room.telegram.send_text(alice.id, "/help")
    (update,) = room.telegram.updates.pending
    limit = FaultKind.TOO_MANY_REQUESTS
    room.telegram.faults.add(limit, method="sendMessage", times=None, retry_after_s=100)
    for _ in range(MAX_TRIES + 1):
        with pytest.raises(TryLater) as later:
            await handler.run(json.dumps(update))
        assert later.value.after_s == 100
    assert errors(caplog) == []
    room.telegram.faults.clear()
    await handler.run(json.dumps(update))
    (answer,) = room.telegram.bot_messages(alice.id)
    assert "How it works" in answer.text


async def test_an_update_that_fails_too_often_is_given_up(
    room: BotRoom, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    handler = room.product.updates(room.application)
    room.telegram.send_text(alice.id, "/help")
    (update,) = room.telegram.updates.pending
    order = room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=MAX_TRIES)
    pauses = []
    for _ in range(MAX_TRIES - 1):
        with pytest.raises(TryLater) as later:
            await handler.run(json.dumps(update))
        pauses.append(later.value.after_s)
    await handler.run(json.dumps(update))
    assert order.hits == MAX_TRIES
    assert pauses == sorted(pauses)
    (error,) = errors(caplog)
    assert error.endswith(f"given up after {MAX_TRIES} tries")
    (answer,) = room.telegram.bot_messages(alice.id)
    assert answer.text == TROUBLE
    (letter,) = await room.product.dead_letters.all()
    assert letter.key == f"update:{update['update_id']}"
    assert letter.what == "a message (text)"
    assert letter.why == f"NetworkError, {MAX_TRIES} times; its sender was told"


async def test_tries_are_counted_over_all_bots(room: BotRoom, alice: User) -> None:
    room.telegram.send_text(alice.id, "/help")
    (update,) = room.telegram.updates.pending
    room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=MAX_TRIES)
    for _ in range(MAX_TRIES - 1):
        with pytest.raises(TryLater):
            await room.product.updates(room.application).run(json.dumps(update))
    await room.product.updates(room.application).run(json.dumps(update))
    assert [message.text for message in room.telegram.bot_messages(alice.id)] == [TROUBLE]


@pytest.mark.parametrize("is_a_bug", [False, True])
async def test_an_update_whose_sender_cannot_be_told_is_retried_for_a_day(
    room: BotRoom, alice: User, song: Path, is_a_bug: bool
) -> None:
    """Telegram takes no message for longer than the tries last; the song is answered when it does."""
    room.telegram.send_text(alice.id, "/jobs")
    (update,) = room.telegram.updates.pending
    key = f"stemdrop:account:{alice.id}:jobs"
    if is_a_bug:
        await room.product.redis.set(key, "not a sorted set")
    room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=None)
    handler, pauses = room.product.updates(room.application), []
    for _ in range(MAX_TRIES + 3):
        with pytest.raises(TryLater) as later:
            await handler.run(json.dumps(update))
        pauses.append(later.value.after_s)
    assert pauses[-4:] == [300] * 4
    assert await room.product.dead_letters.all() == []
    room.telegram.faults.clear()
    await handler.run(json.dumps(update))
    (answer,) = room.telegram.bot_messages(alice.id)
    assert (answer.text == TROUBLE) is is_a_bug
    # nor for ever
    room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=None)
    await room.product.redis.set(f"stemdrop:tries:update:{update['update_id']}", MAX_TRIES + UNTOLD_TRIES - 1)
    await handler.run(json.dumps(update))
    (letter,) = await room.product.dead_letters.all()
    assert letter.why.endswith("its sender was not told")


async def test_a_song_sent_while_redis_is_full_is_answered_later(
    breakable: tuple[RedisServer, BotRoom], alice: User, song: Path
) -> None:
    _, room = breakable
    await room.product.redis.config_set("maxmemory", "1")
    sent = await room.sends(alice, song)
    assert room.after(sent) == []
    for _ in range(MAX_TRIES + 1):  # what cannot be counted is no try
        with pytest.raises(TryLater):
            await room.handle_again()
    await room.product.redis.config_set("maxmemory", "0")
    await room.handle_again()
    (menu,) = room.after(sent)
    assert menu.buttons


async def test_an_update_that_kills_processes_is_a_dead_letter_and_its_sender_is_told(
    room: BotRoom, mei: User, song: Path
) -> None:
    handler = room.product.updates(room.application)
    await room.telegram.send_file(mei.id, song, caption="a private caption")
    (update,) = room.telegram.updates.pending
    room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage")
    await handler.give_up(json.dumps(update))
    (letter,) = await room.product.dead_letters.all()
    assert (letter.key, letter.what) == (f"update:{update['update_id']}", "a message (audio)")
    assert letter.why == "the processes that handled it died; its sender was not told"
    await handler.give_up(json.dumps(update))
    (letter,) = await room.product.dead_letters.all()
    assert letter.why == "the processes that handled it died; its sender was told"
    (answer,) = room.telegram.bot_messages(mei.id)
    assert answer.text == room.product.translations.languages["zh_Hans"]("trouble")
    assert await room.product.jobs(mei.id) == []
    stored = str(await room.product.redis.hgetall(GIVEN_UP))  # type: ignore[misc]
    for word in ("private caption", "Morning", str(mei.id)):
        assert word not in stored


async def given_up(room: BotRoom) -> None:
    """The only update that waits is handled for the last time."""
    handler = room.product.updates(room.application)
    (update,) = room.telegram.updates.pending
    for _ in range(MAX_TRIES - 1):
        with pytest.raises(TryLater):
            await handler.run(json.dumps(update))
    await handler.run(json.dumps(update))


async def test_the_sender_of_a_tap_that_is_given_up_is_told_in_their_language(
    room: BotRoom, mei: User, song: Path
) -> None:
    menu = await room.menu(mei, song)
    query = room.telegram.tap(mei.id, menu.message_id, menu.buttons[0]["callback_data"])
    del room.telegram.updates.pending[:-1]
    order = room.telegram.faults.add(FaultKind.SERVER_ERROR, method="editMessageText", times=None)
    await given_up(room)
    assert order.hits == MAX_TRIES
    assert query.is_answered  # once, and that was before
    assert [letter.what for letter in await room.product.dead_letters.all()] == ["a tap"]
    (answer,) = room.after(menu)
    assert answer.text == room.product.translations.languages["zh_Hans"]("trouble")


async def test_in_a_group_a_sender_who_asked_nothing_is_not_told(
    room: BotRoom, alice: User, song: Path
) -> None:
    group = room.telegram.add_group("Band", [alice])
    await room.product.group_settings.set_answers_all(group.id, True)
    await room.telegram.send_file(group.id, song, user_id=alice.id)
    order = room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=MAX_TRIES)
    await given_up(room)
    assert order.hits == MAX_TRIES
    assert room.telegram.bot_messages(group.id) == []
    (letter,) = await room.product.dead_letters.all()
    assert letter.why.endswith("its sender was not told")
