"""The check of everything that a local Telegram sends finds each kind of difference."""

from typing import Any

import bot_api_types
import httpx
import pytest

from sandbox.telegram.chats import User
from sandbox.telegram.person_actions import Telegram

CHAT = {"id": 1, "type": "private", "first_name": "Alice"}
MESSAGE = {"message_id": 1, "date": 3, "chat": CHAT, "text": "hello"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"tetx": "x"}, "result.tetx is unknown"),
        ({"chat": {**CHAT, "name": "x"}}, "result.chat.name is unknown"),
        ({"entities": [{"type": "url", "offset": 0, "length": 1, "x": 1}]}, "result.entities.0.x is unknown"),
        ({"message_id": "1"}, "aiogram reads it as"),
        ({"is_topic_message": 1}, "aiogram reads it as"),
        ({"chat": {"id": 1}}, "missing 1 required positional argument: 'type'"),
        ({"caption": None}, "result.caption is null"),
    ],
)
def test_each_kind_of_difference_is_found(change: dict[str, Any], problem: str) -> None:
    pytest.importorskip("aiogram")
    assert list(bot_api_types.type_problems("sendMessage", MESSAGE)) == []
    found = list(bot_api_types.type_problems("sendMessage", {**MESSAGE, **change}))
    assert problem in "".join(found)


async def test_answers_and_updates_are_checked(api: httpx.AsyncClient, tg: Telegram, alice: User) -> None:
    tg.post(tg.chat(alice.id), alice, {"text": "hello", "mood": "merry"})
    assert bot_api_types.take_problems()[0].startswith("Update: result.message.mood is unknown")
    tg.bot.first_name = ["Stem", "drop"]  # type: ignore[assignment]
    assert (await api.post("getMe")).status_code == 200
    assert "first_name" in "".join(bot_api_types.take_problems())
