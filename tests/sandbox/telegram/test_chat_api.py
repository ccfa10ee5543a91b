"""The chat API over HTTP, and the requests that it refuses."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import telegram as ptb
from telegram.error import BadRequest, RetryAfter
from tones import mp3

from sandbox.telegram.chats import User
from sandbox.telegram.disk_room import DiskRoom
from sandbox.telegram.errors import PersonError
from sandbox.telegram.person_actions import Telegram

Maker = Callable[..., Path]


async def test_a_whole_conversation(
    chat: httpx.AsyncClient, bot: ptb.Bot, tg: Telegram, make_audio: Maker
) -> None:
    user = (await chat.post("users", json={"first_name": "Ada", "language_code": "de"})).json()
    chat_id = user["id"]
    path = make_audio("song.mp3", title="Morning")
    with path.open("rb") as file:
        song = (
            await chat.post(f"{chat_id}/files", files={"file": ("song.mp3", file)}, data={"caption": "this"})
        ).json()
    assert (song["audio"]["title"], song["caption"], song["is_from_bot"]) == ("Morning", "this", False)
    shown = (await chat.get(f"{chat_id}/messages")).json()
    assert [message["message_id"] for message in shown["messages"]] == [song["message_id"]]

    waiting = asyncio.create_task(
        chat.get(f"{chat_id}/events", params={"after": shown["last_event"], "timeout": 20})
    )
    button = ptb.InlineKeyboardButton("Vocals", callback_data="vocals")
    menu = await bot.send_message(
        chat_id, "choose", reply_markup=ptb.InlineKeyboardMarkup.from_button(button)
    )
    news = (await waiting).json()
    assert [event["kind"] for event in news["events"]] == ["message"]

    tap = (
        await chat.post(f"{chat_id}/taps", json={"message_id": menu.message_id, "callback_data": "vocals"})
    ).json()
    await bot.answer_callback_query(tap["callback_query_id"], "ok")
    answered = (await chat.get(f"taps/{tap['callback_query_id']}")).json()
    assert answered == {"is_answered": True, "text": "ok", "show_alert": False}

    await bot.edit_message_text("working", chat_id, menu.message_id)
    after = (await chat.get(f"{chat_id}/messages")).json()["messages"][-1]
    assert (after["text"], after["history"][0]["text"]) == ("working", "choose")
    assert "reply_markup" not in after
    refused = await chat.post(
        f"{chat_id}/taps", json={"message_id": menu.message_id, "callback_data": "vocals"}
    )
    assert refused.status_code == 400
    assert "shows no button" in refused.json()["error"]

    part = await chat.get(f"files/{song['audio']['file_id']}", headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, path.read_bytes()[:10])
    assert part.headers["content-type"] == "audio/mpeg"


async def test_texts_edits_deletions_and_blocks(chat: httpx.AsyncClient, tg: Telegram) -> None:
    chat_id = tg.add_user("Ada").id
    said = (await chat.post(f"{chat_id}/messages", json={"text": "/start"})).json()
    assert said["entities"][0]["type"] == "bot_command"
    await chat.patch(f"{chat_id}/messages/{said['message_id']}", json={"text": "/help"})
    assert tg.messages(chat_id)[0].text == "/help"
    await chat.delete(f"{chat_id}/messages/{said['message_id']}")
    assert (await chat.get(f"{chat_id}/messages")).json()["messages"] == []
    assert "dice" in (await chat.post(f"{chat_id}/messages", json={"kind": "dice"})).json()
    assert (await chat.post(f"{chat_id}/block")).json()["is_bot_out"] is True
    assert (await chat.post(f"{chat_id}/unblock")).json()["is_bot_out"] is False


async def test_groups_topics_and_migration(chat: httpx.AsyncClient, tg: Telegram) -> None:
    ada = tg.add_user("Ada")
    forum = (await chat.post("groups", json={"title": "Forum", "member_ids": [ada.id], "forum": True})).json()
    thread_id = (await chat.post(f"{forum['id']}/topics", json={"name": "songs"})).json()["message_thread_id"]
    said = await chat.post(f"{forum['id']}/messages", json={"text": "hi", "thread_id": thread_id})
    assert said.json()["message_thread_id"] == thread_id
    await chat.post(f"{forum['id']}/topics/{thread_id}/close")
    group = (await chat.post("groups", json={"title": "Band", "member_ids": [ada.id]})).json()
    new = (await chat.post(f"{group['id']}/migrate")).json()
    chats = {item["id"]: item for item in (await chat.get("chats")).json()["chats"]}
    assert chats[forum["id"]]["topics"] == [
        {"message_thread_id": thread_id, "name": "songs", "is_closed": True}
    ]
    assert chats[group["id"]]["migrated_to"] == new["id"]


async def read_events(chat: httpx.AsyncClient, count: int, after: str) -> list[dict[str, str]]:
    """Read that many events of the stream, each as its fields."""
    found: list[dict[str, str]] = [{}]
    async with chat.stream("GET", "events", headers={"Last-Event-ID": after}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if line and name:
                found[-1][name] = value
            elif "data" in found[-1]:
                found.append({})
            if len(found) > count:
                break
    return found[:count]


async def test_the_stream_of_events_resumes_after_the_last_one(chat: httpx.AsyncClient, tg: Telegram) -> None:
    ada, bob = tg.add_user("Ada").id, tg.add_user("Bob").id
    position = (await chat.get("chats")).json()["position"]
    for chat_id, text in ((ada, "one"), (bob, "two"), (ada, "three")):
        tg.send_text(chat_id, text)
    events = await read_events(chat, 2, position)
    assert [json.loads(event["data"])["content"]["text"] for event in events] == ["one", "two"]
    [last] = await read_events(chat, 1, events[-1]["id"])
    assert json.loads(last["data"])["chat_id"] == ada
    tg.events._max_entries = 2
    tg.send_text(ada, "four")
    [last] = await read_events(chat, 1, last["id"])
    run_id = position.partition(":")[0]
    forgotten = events[0]["id"]  # two events that came after it are kept, the third is not
    for unknown in ("", "another-run:1", f"{run_id}:99", f"{run_id}:{'9' * 5000}", forgotten):
        [restarted] = await read_events(chat, 1, unknown)
        assert (restarted["event"], restarted["id"]) == ("restarted", last["id"])


async def test_the_bot_shows_its_commands_and_description_in_a_persons_language(
    chat: httpx.AsyncClient, bot: ptb.Bot, tg: Telegram
) -> None:
    ada, eve = tg.add_user("Ada", language_code="de"), tg.add_user("Eve", language_code="zh-hans")
    group = tg.add_group("Band", [ada, eve])
    await bot.set_my_commands([("start", "begin")])
    await bot.set_my_commands([("start", "开始")], language_code="zh")
    await bot.set_my_commands([("users", "people")], ptb.BotCommandScopeChat(ada.id))
    await bot.set_my_commands([("stems", "split")], ptb.BotCommandScopeAllGroupChats())
    await bot.set_my_description("Splits songs")

    async def shown(chat_id: int, user_id: int) -> tuple[str, str]:
        profile = (await chat.get(f"{chat_id}/bot", params={"user_id": user_id})).json()
        return profile["commands"][0]["description"], profile["description"]

    assert await shown(ada.id, ada.id) == ("people", "Splits songs")
    assert await shown(eve.id, eve.id) == ("开始", "Splits songs")
    assert await shown(group.id, eve.id) == ("split", "Splits songs")


async def test_an_outline_shows_where_a_sound_is_loud(
    chat: httpx.AsyncClient, tg: Telegram, tmp_path: Path, make_audio: Maker
) -> None:
    chat_id = tg.add_user("Ada").id
    mp3(tmp_path / "tone.mp3")
    files = [tmp_path / "tone.mp3", make_audio("silence.mp3"), tmp_path / "none.mp3"]
    files[2].write_text("no sound")
    outlines = []
    for file in files:
        sent = await tg.send_file(chat_id, file, kind="document")
        assert sent.media
        outlines.append((await chat.get(f"files/{sent.media['file_id']}/outline")).json())
    assert len(outlines[0]) == len(outlines[1]) == 256
    assert min(outlines[0][10:-10]) > 128
    assert set(outlines[1]) == {0}
    assert outlines[2] == []


async def test_people_join_and_leave_a_group_and_the_bot_loses_a_right(
    chat: httpx.AsyncClient, tg: Telegram, bot: ptb.Bot
) -> None:
    ada, eve = tg.add_user("Ada"), tg.add_user("Eve")
    group = tg.add_group("Band", [ada], supergroup=True)
    joined = (await chat.post(f"{group.id}/members", json={"user_id": eve.id})).json()
    assert eve.id in joined["member_ids"]
    left = await chat.delete(f"{group.id}/members/{eve.id}")
    assert eve.id not in left.json()["member_ids"]
    updates = await bot.get_updates(timeout=0)
    assert [update.message.new_chat_members != () for update in updates] == [True, False]
    assert updates[1].message.left_chat_member.id == eve.id
    assert (await chat.delete(f"{group.id}/members/{ada.id}")).status_code == 400

    rights = {"forbidden": ["can_send_messages"], "bot_only": True}
    await chat.post(f"{group.id}/restriction", json=rights)
    with pytest.raises(BadRequest, match="Not enough rights"):
        await bot.send_message(group.id, "no")
    await chat.post(f"{group.id}/restriction", json={**rights, "forbidden": []})
    await bot.send_message(group.id, "yes")
    assert (await chat.post(f"{group.id}/restriction", json={"forbidden": ["can_fly"]})).status_code == 400
    assert (await chat.post(f"{ada.id}/members", json={"user_id": eve.id})).status_code == 400


async def test_the_bench_shows_the_bots_calls_and_makes_the_next_one_fail(
    chat: httpx.AsyncClient, tg: Telegram, bot: ptb.Bot, alice: User
) -> None:
    before = (await chat.get("records", params={"timeout": 0})).json()["last_number"]
    assert (await chat.get("faults", params={"chat_id": alice.id})).json()["messages_left"] == 20
    waiting = asyncio.create_task(chat.get("records", params={"after": before, "timeout": 20}))
    sent = await bot.send_message(alice.id, "hello")
    [call] = (await waiting).json()["records"]
    assert (call["number"], call["name"], call["status"]) == (before + 1, "sendMessage", 200)
    assert call["parameters"]["text"] == "hello"
    assert call["answer"]["message_id"] == sent.message_id

    await chat.post("faults", json={"kind": "too_many_requests", "method": "sendMessage", "retry_after_s": 7})
    shown = (await chat.get("faults", params={"chat_id": alice.id})).json()
    assert [fault["kind"] for fault in shown["faults"]] == ["too_many_requests"]
    assert shown["messages_left"] == 19
    with pytest.raises(RetryAfter):
        await bot.send_message(alice.id, "again")
    [refused] = (await chat.get("records", params={"after": before + 1})).json()["records"]
    assert (refused["status"], refused["fault"], refused["answer"]) == (429, "too_many_requests", None)
    assert (await chat.get("faults")).json()["faults"] == []
    await chat.post("faults", json={"kind": "server_error", "times": None})
    await chat.delete("faults")
    await bot.send_message(alice.id, "again")
    refused = await chat.post("faults", json={"kind": "earthquake"})
    assert (refused.status_code, refused.json()["error"][:20]) == (400, "kind: Input should b")


async def test_no_new_events_is_an_empty_answer(chat: httpx.AsyncClient, tg: Telegram) -> None:
    chat_id = tg.add_user("Ada").id
    answer = await chat.get(f"{chat_id}/events", params={"after": 0, "timeout": 0})
    assert answer.json() == {"events": [], "last_event": 0}


async def test_a_wrong_key_and_other_hosts_than_this_machine_are_refused(chat: httpx.AsyncClient) -> None:
    assert (await chat.get("chats")).status_code == 200
    for headers in [{"X-Sandbox-Key": ""}, {"X-Sandbox-Key": "wrong"}, {"Host": "sandbox:8081"}]:
        assert (await chat.get("chats", headers=headers)).status_code == 403, headers


async def test_our_own_page_and_the_key_in_the_query_are_accepted(url: str, tg: Telegram) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{url}/chat/chats", params={"key": tg.access_key}, headers={"Origin": url})
        assert answer.json()["bot"]["is_bot"] is True


async def test_a_timeout_names_the_last_calls_of_the_bot(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    await bot.send_message(alice.id, "hello")
    with pytest.raises(TimeoutError, match="sendMessage → 200"):
        await tg.wait_for(lambda: len(tg.messages(alice.id)) > 5, timeout_s=0.01)


async def test_pages_that_open_at_once_make_one_first_person_and_chats_to_try(
    chat: httpx.AsyncClient, tg: Telegram
) -> None:
    robins = await asyncio.gather(*(chat.post("users/first", json={"first_name": "Robin"}) for _ in range(3)))
    assert {robin.json()["id"] for robin in robins} == {next(iter(tg.users))}
    assert [user.first_name for user in tg.users.values()] == ["Robin", "小明", "Sam"]
    assert [chat.type for chat in tg.chats.values() if chat.title] == ["group", "supergroup"]


HALF = "\ud83c"  # of a note, as JavaScript cuts one
WHOLE = ": Value error, a text contains half a character"


def as_bytes(request: dict[str, Any]) -> dict[str, Any]:
    """Encode JSON here, because httpx refuses halves of characters."""
    if request.keys().isdisjoint(("json", "content")):
        return request
    content = request.get("content") or json.dumps(request["json"])
    return {"content": content, "headers": {"Content-Type": "application/json"}}


async def test_a_person_has_and_sends_only_what_telegram_allows(
    chat: httpx.AsyncClient, tg: Telegram
) -> None:
    ada = tg.add_user("Ada").id
    said = tg.send_text(ada, "hello").message_id
    no_song = {"file": ("song.mp3", b"")}
    song = {"file": ("song.mp3", b"no song")}
    refused: list[tuple[str, str, dict[str, Any], str]] = [
        ("POST", "users", {"json": {"first_name": " "}}, "the first name is empty"),
        ("POST", "users", {"json": {"first_name": "x" * 65}}, "the first name has 65 characters, and"),
        ("POST", "users", {"json": {"first_name": HALF}}, WHOLE),
        ("POST", "users", {"json": {HALF: "x"}}, WHOLE),
        ("POST", "faults", {"json": {"kind": "slow", "method": HALF}}, WHOLE),
        ("POST", "users", {"json": {"first_name": "x", "username": "a b"}}, "a username is 4 to 32"),
        *(
            ("POST", "users", {"json": {"first_name": "x", "user_id": number}}, "a person's id is a positive")
            for number in (0, -5, 2**60)
        ),
        ("POST", "groups", {"json": {"title": "", "member_ids": [ada]}}, "the title is empty"),
        ("POST", "groups", {"json": {"title": "x", "member_ids": []}}, "a group has at least one person"),
        ("POST", f"{ada}/topics/7/close", {}, "there is no topic 7"),
        ("POST", f"{ada}/messages", {"json": {"text": ""}}, "the text is empty"),
        ("POST", f"{ada}/messages", {"json": {"text": "🎵" * 2049}}, "the text has 4098 characters, and"),
        ("POST", f"{ada}/messages", {"json": {"text": f"a{HALF}"}}, WHOLE),
        ("PATCH", f"{ada}/messages/{said}", {"json": {"text": "x" * 4097}}, "the text has 4097 characters"),
        ("POST", f"{ada}/files", {"files": no_song}, "the file is empty"),
        ("POST", f"{ada}/files", {"files": song, "data": {"caption": "x" * 1025}}, "the caption has 1025"),
        ("POST", f"{ada}/taps", {"content": b"[" * 100_000}, "There was an error parsing the body"),
    ]
    for method, path, request, words in refused:
        answer = await chat.request(method, path, **as_bytes(request))
        assert (answer.status_code, answer.json()["error"][: len(words)]) == (400, words)
    assert [message.message_id for message in tg.messages(ada)] == [said]
    assert list(tg.users) == [ada]


async def test_the_name_of_a_file_is_text(chat: httpx.AsyncClient, tg: Telegram) -> None:
    part = 'Content-Disposition: form-data; name="file"; filename="+2AA-.mp3"\r\n\r\nno song'
    kind = "multipart/form-data; boundary=b; charset=utf-7"
    answer = await chat.post(
        f"{tg.add_user('Ada').id}/files",
        content=f"--b\r\n{part}\r\n--b--\r\n",
        headers={"Content-Type": kind},
    )
    assert (answer.status_code, answer.json()) == (400, {"error": WHOLE})


async def test_an_upload_that_no_disk_can_hold_is_refused_when_it_has_been_sent(
    chat: httpx.AsyncClient, tg: Telegram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tg.room, "left_bytes", lambda: 2_000_000)
    files = {"file": ("song.wav", bytes(3_000_000))}
    answer = await chat.post(f"{tg.add_user('Ada').id}/files", files=files)
    words = "the file is too large: 3 MB, and this sandbox has room for 2 MB"
    assert (answer.status_code, answer.json()) == (413, {"error": words})


def test_uploads_that_are_under_way_take_room(tmp_path: Path) -> None:
    room = DiskRoom(tmp_path / "files")
    before = room.left_bytes()
    with room.expect(10**12):
        assert room.left_bytes() == 0 < before


def test_actions_that_no_client_offers_are_refused(tmp_path: Path) -> None:
    tg = Telegram(tmp_path)
    ada = tg.add_user("Ada").id
    for attempt in [
        lambda: tg.send_text(424242, "no such chat"),
        lambda: tg.tap(ada, 1, "x"),
        lambda: tg.edit_text(ada, 1, "x"),
        lambda: tg.delete_message(ada, 1),
        lambda: tg.send_other(ada, "poll"),
        lambda: tg.add_topic(ada, "x"),
        lambda: tg.migrate_group(ada),
        lambda: tg.file("x"),
    ]:
        with pytest.raises(PersonError):
            attempt()
