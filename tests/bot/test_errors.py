"""What goes wrong in a handler becomes one line for the operator and, where it can be said, a sentence."""

import asyncio
from pathlib import Path

import pytest
from product import BotRoom

from sandbox.environment.redis_server import RedisServer
from sandbox.telegram.chats import User
from sandbox.telegram.faults import FaultKind

TROUBLE = "Something went wrong on my side. Please try again in a minute."


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Not of other threads, nor of what earlier tests have left."""
    heard = [record for record in caplog.records if record.name.startswith(("bot", "stemdrop", "telegram"))]
    return [record.getMessage() for record in heard if record.levelname == "ERROR"]


async def test_an_error_in_a_message_is_told_and_logged_once(
    room: BotRoom, alice: User, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await room.product.redis.set(f"stemdrop:account:{alice.id}:jobs", "not a sorted set")
    (answer,) = await room.says(alice, "/cancel")
    assert answer.text == TROUBLE
    assert len(errors(caplog)) == 1
    assert room.telegram.token not in caplog.text


async def test_an_error_in_a_tap_answers_the_tap(
    room: BotRoom, alice: User, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    menu = await room.menu(alice, song)
    (job,) = await room.product.jobs(alice.id)
    await room.product.redis.hset(f"stemdrop:job:{job.id}", "source", "[]")
    query = await room.taps(menu, 0)
    assert query.answer_text == TROUBLE
    assert len(errors(caplog)) == 1


async def test_a_refusal_by_telegram_is_told_too(
    room: BotRoom, alice: User, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A BadRequest is a NetworkError to the library, but it is no trouble of the network."""
    room.telegram.faults.add(FaultKind.FILE_GONE, method="sendMessage")
    (answer,) = await room.says(alice, "/help")
    assert answer.text == TROUBLE
    assert len(errors(caplog)) == 1


async def test_an_error_in_a_chat_that_is_gone_is_not_told(
    room: BotRoom, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    room.telegram.send_text(alice.id, "/help")
    room.telegram.block_bot(alice.id)
    await room.handle()
    assert room.telegram.bot_messages(alice.id) == []
    assert errors(caplog) == []


async def test_in_a_group_only_a_user_who_addressed_the_bot_is_told(
    room: BotRoom, alice: User, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    group = room.telegram.add_group("Band", [alice])
    await room.product.redis.set(f"stemdrop:chat:{group.id}", "not a hash")
    sent = await room.sends(alice, song, chat_id=group.id)
    assert room.after(sent) == []
    assert len(errors(caplog)) == 1
    (answer,) = await room.says(alice, "/stems", chat_id=group.id)
    assert answer.text == TROUBLE


async def test_the_bot_survives_an_outage_of_redis(
    breakable: tuple[RedisServer, BotRoom], alice: User
) -> None:
    redis, room = breakable
    await asyncio.to_thread(redis.kill)
    assert await room.says(alice, "/help") == []
    await asyncio.to_thread(redis.start)
    (answer,) = await room.says(alice, "/help")
    assert "How it works" in answer.text


async def test_an_error_is_told_in_the_users_language(room: BotRoom, mei: User) -> None:
    await room.product.redis.set(f"stemdrop:account:{mei.id}:jobs", "not a sorted set")
    (answer,) = await room.says(mei, "/cancel")
    assert answer.text == room.product.translations.languages["zh_Hans"]("trouble")
    await room.product.users.set_language(mei.id, "ru")
    (answer,) = await room.says(mei, "/cancel")
    assert answer.text == room.product.translations.languages["ru"]("trouble")
