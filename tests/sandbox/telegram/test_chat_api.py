"""The person's door over HTTP, and who it does not open to."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import telegram as ptb

from sandbox.telegram.chats import User
from sandbox.telegram.errors import PersonError
from sandbox.telegram.person_actions import Telegram

Maker = Callable[..., Path]


async def test_a_whole_conversation(
    door: httpx.AsyncClient, bot: ptb.Bot, tg: Telegram, make_audio: Maker
) -> None:
    user = (await door.post("users", json={"first_name": "Ada", "language_code": "de"})).json()
    chat_id = user["id"]
    path = make_audio("song.mp3", title="Morning")
    with path.open("rb") as file:
        song = (
            await door.post(f"{chat_id}/files", files={"file": ("song.mp3", file)}, data={"caption": "this"})
        ).json()
    assert (song["audio"]["title"], song["caption"], song["is_from_bot"]) == ("Morning", "this", False)
    shown = (await door.get(f"{chat_id}/messages")).json()
    assert [message["message_id"] for message in shown["messages"]] == [song["message_id"]]

    waiting = asyncio.create_task(
        door.get(f"{chat_id}/events", params={"after": shown["last_event"], "timeout": 20})
    )
    button = ptb.InlineKeyboardButton("Vocals", callback_data="vocals")
    menu = await bot.send_message(
        chat_id, "choose", reply_markup=ptb.InlineKeyboardMarkup.from_button(button)
    )
    news = (await waiting).json()
    assert [event["kind"] for event in news["events"]] == ["message"]

    tap = (
        await door.post(f"{chat_id}/taps", json={"message_id": menu.message_id, "callback_data": "vocals"})
    ).json()
    await bot.answer_callback_query(tap["callback_query_id"], "ok")
    answered = (await door.get(f"taps/{tap['callback_query_id']}")).json()
    assert answered == {"is_answered": True, "text": "ok", "show_alert": False}

    await bot.edit_message_text("working", chat_id, menu.message_id)
    after = (await door.get(f"{chat_id}/messages")).json()["messages"][-1]
    assert (after["text"], after["history"][0]["text"]) == ("working", "choose")
    assert "reply_markup" not in after
    refused = await door.post(
        f"{chat_id}/taps", json={"message_id": menu.message_id, "callback_data": "vocals"}
    )
    assert refused.status_code == 400
    assert "shows no button" in refused.json()["error"]

    part = await door.get(f"files/{song['audio']['file_id']}", headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, path.read_bytes()[:10])
    assert part.headers["content-type"] == "audio/mpeg"


async def test_texts_edits_deletions_and_what_else_there_is(door: httpx.AsyncClient, tg: Telegram) -> None:
    chat_id = tg.add_user("Ada").id
    said = (await door.post(f"{chat_id}/messages", json={"text": "/start"})).json()
    assert said["entities"][0]["type"] == "bot_command"
    await door.patch(f"{chat_id}/messages/{said['message_id']}", json={"text": "/help"})
    assert tg.messages(chat_id)[0].text == "/help"
    await door.delete(f"{chat_id}/messages/{said['message_id']}")
    assert (await door.get(f"{chat_id}/messages")).json()["messages"] == []
    assert "dice" in (await door.post(f"{chat_id}/messages", json={"kind": "dice"})).json()
    assert (await door.post(f"{chat_id}/block")).json()["is_bot_out"] is True
    assert (await door.post(f"{chat_id}/unblock")).json()["is_bot_out"] is False


async def test_groups_topics_and_migration(door: httpx.AsyncClient, tg: Telegram) -> None:
    ada = tg.add_user("Ada")
    forum = (await door.post("groups", json={"title": "Forum", "member_ids": [ada.id], "forum": True})).json()
    thread_id = (await door.post(f"{forum['id']}/topics", json={"name": "songs"})).json()["message_thread_id"]
    said = await door.post(f"{forum['id']}/messages", json={"text": "hi", "thread_id": thread_id})
    assert said.json()["message_thread_id"] == thread_id
    await door.post(f"{forum['id']}/topics/{thread_id}/close")
    group = (await door.post("groups", json={"title": "Band", "member_ids": [ada.id]})).json()
    new = (await door.post(f"{group['id']}/migrate")).json()
    chats = {chat["id"]: chat for chat in (await door.get("chats")).json()["chats"]}
    assert chats[forum["id"]]["topics"] == [
        {"message_thread_id": thread_id, "name": "songs", "is_closed": True}
    ]
    assert chats[group["id"]]["migrated_to"] == new["id"]


async def test_nothing_new_is_an_empty_answer(door: httpx.AsyncClient, tg: Telegram) -> None:
    chat_id = tg.add_user("Ada").id
    answer = await door.get(f"{chat_id}/events", params={"after": 0, "timeout": 0})
    assert answer.json() == {"events": [], "last_event": 0}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Sandbox-Key": ""},
        {"X-Sandbox-Key": "wrong"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Host": "evil.example"},
    ],
)
async def test_strangers_and_pages_from_elsewhere_are_refused(
    door: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    assert (await door.get("chats")).status_code == 200
    assert (await door.get("chats", headers=headers)).status_code == 403


async def test_our_own_page_and_the_key_in_the_query_are_let_in(url: str, tg: Telegram) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{url}/chat/chats", params={"key": tg.access_key}, headers={"Origin": url})
        assert answer.json()["bot"]["is_bot"] is True


async def test_waiting_in_vain_tells_what_the_bot_did(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    await bot.send_message(alice.id, "hello")
    with pytest.raises(TimeoutError, match="sendMessage → 200"):
        await tg.wait_for(lambda: len(tg.messages(alice.id)) > 5, timeout_s=0.01)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda tg, alice: tg.send_text(424242, "nobody there"),
        lambda tg, alice: tg.tap(alice, 1, "x"),
        lambda tg, alice: tg.edit_text(alice, 1, "x"),
        lambda tg, alice: tg.delete_message(alice, 1),
        lambda tg, alice: tg.send_other(alice, "poll"),
        lambda tg, alice: tg.add_topic(alice, "x"),
        lambda tg, alice: tg.migrate_group(alice),
        lambda tg, alice: tg.file("x"),
    ],
)
def test_what_no_client_lets_a_person_do(tmp_path: Path, attempt: Callable[..., Any]) -> None:
    tg = Telegram(tmp_path)
    with pytest.raises(PersonError):
        attempt(tg, tg.add_user("Ada").id)
