"""The local Telegram after a restart: everything that people and the bot did before is there."""

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tones import mp3

from sandbox.environment.database import Database, DatabaseError
from sandbox.telegram.app import run_telegram
from sandbox.telegram.bot_api.methods import METHODS
from sandbox.telegram.bot_api.parameters import Call
from sandbox.telegram.media import jpeg_from_colour
from sandbox.telegram.person_actions import Telegram
from sandbox.telegram.saved_state import close_telegram, open_telegram
from sandbox.telegram.updates import Webhook

BUTTONS = {"inline_keyboard": [[{"text": "Vocals", "callback_data": "v"}]]}


STEPS = (
    *("add_user", "add_group", "add_channel", "add_topic", "close_topic", "delete_topic", "migrate_group"),
    *("forbid", "forbid_voice", "set_bot_status", "block_bot", "send_text", "send_other", "tap", "edit_text"),
    *("delete_message", "post", "edit", "delete"),
)


def check_that_steps_save(telegram: Telegram, database: Database) -> None:
    """Let each step fail that leaves a change to be saved by a later one."""

    def checked(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            result = step(*args, **options)
            written = database._connection.total_changes
            telegram.save()
            assert database._connection.total_changes == written, step
            return result

        return run

    for name in STEPS:
        setattr(telegram, name, checked(getattr(telegram, name)))


async def call(telegram: Telegram, method: str, **arguments: Any) -> Any:
    result = await METHODS[method].handler(telegram, Call(method, arguments, {}, lambda: None))  # type: ignore
    telegram.notify_change()  # as the log of calls does
    return result


async def play(telegram: Telegram, folder: Path, make_audio: Callable[..., Path]) -> None:
    """Change everything that a person or the bot can change."""
    telegram.updates.allowed_kinds = ["message", "callback_query", "my_chat_member"]
    alice = telegram.add_user("Alice", language_code="zh-hans", username="alice")
    bob, carol = telegram.add_user("Bob", last_name="B"), telegram.add_user("Carol", language_code=None)
    group = telegram.add_group("Band", [alice, bob])
    forum = telegram.add_group("Forum", [bob, alice], forum=True)
    channel = telegram.add_channel("News", alice, [bob])
    topics = [telegram.add_topic(forum.id, name) for name in ("Songs", "Closed", "Deleted")]
    telegram.close_topic(forum.id, topics[1])
    telegram.close_topic(forum.id, None)
    telegram.delete_topic(forum.id, topics[2])
    telegram.join(group.id, carol.id)
    telegram.leave(group.id, bob.id)
    telegram.forbid(group.id, "can_send_audios", bot_only=True)
    telegram.forbid(forum.id, "can_send_messages")
    telegram.set_bot_status(forum.id, "administrator")
    telegram.forbid_voice(bob.id)
    telegram.block_bot(carol.id)
    telegram.migrate_group(telegram.add_group("Old", [alice]).id)

    cover = jpeg_from_colour(90, 90)
    song = await telegram.send_file(
        alice.id, make_audio("song.mp3", cover=cover, title="Song"), caption="vocals"
    )
    mp3(folder / "b.mp3")
    await telegram.send_file(alice.id, folder / "b.mp3", media_group_id="7", reply_to=song.message_id)
    for kind in ("photo", "sticker", "location", "contact", "dice"):
        telegram.send_other(bob.id, kind)
    telegram.send_text(channel.id, "news")
    telegram.send_text(forum.id, "in a topic", thread_id=topics[0])
    telegram.send_text(group.id, "/stems", reply_to=song.message_id, reply_chat_id=alice.id)
    telegram.edit_text(alice.id, song.message_id, "drums")
    reply = {"message_id": song.message_id}
    to = {"chat_id": alice.id, "reply_parameters": reply, "reply_markup": BUTTONS}
    menu = await call(telegram, "sendMessage", text="Which?", **to)
    telegram.tap(alice.id, menu["message_id"], "v")
    query = telegram.tap(alice.id, menu["message_id"], "v")
    await call(telegram, "answerCallbackQuery", callback_query_id=query.id, text="Taken")
    progress = {"chat_id": alice.id, "message_id": menu["message_id"]}
    await call(telegram, "editMessageText", **progress, text="Half of it", reply_markup=BUTTONS)
    await call(
        telegram,
        "setMessageReaction",
        **progress | {"message_id": song.message_id},
        reaction=[{"type": "emoji", "emoji": "👀"}],
    )
    await call(
        telegram, "setMyCommands", commands=[{"command": "start", "description": "s"}], language_code="de"
    )
    await call(telegram, "setMyDescription", description="Drop a song")
    telegram.delete_message(bob.id, telegram.send_text(bob.id, "gone").message_id)
    telegram.delete_message(channel.id, telegram.send_text(channel.id, "gone").message_id)
    telegram.updates.webhook = Webhook("http://127.0.0.1:1/", "secret", 1)
    telegram.notify_change()


def shown(telegram: Telegram) -> dict[str, Any]:
    """Return all of the state that a restart keeps."""
    chats = {}
    for chat in telegram.chats.values():
        kept = {key: value for key, value in vars(chat).items() if key not in ("messages", "user")}
        messages = [
            {**vars(message), **message.to_dict(), "chat": chat.id, "sender": message.sender.id}
            for message in telegram.messages(chat.id)
        ]
        for message in messages:
            message["reply_to"] = message["reply_to"] and message["reply_to"].message_id
        chats[chat.id] = {**kept, "messages": messages, "next": telegram._new_message_id(chat)}
        telegram.last_message_id -= chat.type not in ("supergroup", "channel")
    updates = telegram.updates
    return {
        **{"chats": chats, "users": telegram.users, "token": telegram.token, "key": telegram.access_key},
        **{"commands": telegram.commands, "descriptions": telegram.descriptions, "bot": telegram.bot},
        "queries": [query.to_dict() for query in telegram.unanswered_queries],
        "updates": (updates.waiting, updates.next_id, updates.allowed_kinds, updates.webhook),
        "files": (telegram.files.files, telegram.files.last_number),
    }


async def test_everything_is_there_after_a_restart(tmp_path: Path, make_audio: Callable[..., Path]) -> None:
    files = tmp_path / "telegram"
    with closing(Database(tmp_path)) as database:
        telegram = open_telegram(database, files)
        check_that_steps_save(telegram, database)
        await play(telegram, tmp_path, make_audio)
        before = shown(telegram)  # and no more: a killed process closes nothing
    with closing(Database(tmp_path)) as database:
        again = open_telegram(database, files)
        after = shown(again)
        for part, expected in before.items():
            assert after[part] == expected, part
        alice = next(iter(again.users))
        menu = again.bot_messages(alice)[-1]
        assert again.tap(alice, menu.message_id, "v").data == "v"
        assert all(again.file_location(file_id).stat().st_size for file_id in again.files.files)
        close_telegram(again, database)


async def test_each_song_is_stored_once_and_goes_with_its_last_message(tmp_path: Path) -> None:
    song, files = tmp_path / "song.mp3", tmp_path / "telegram"
    mp3(song)
    with closing(Database(tmp_path)) as database:
        telegram = open_telegram(database, files)
        alice = telegram.add_user("Alice").id
        sent = [await telegram.send_file(alice, song) for _ in range(2)]
        telegram.delete_message(alice, sent[0].message_id)
        (files / "incoming" / "0123456789abcdef").write_bytes(b"an upload that the kill cut off")
        (files / "music" / "mine.mp3").write_bytes(b"not ours")
    with closing(Database(tmp_path)) as database:
        telegram = open_telegram(database, files)
        assert len(telegram.files.files) == 1
        assert names(files) == [
            "contents/" + telegram.files.read_path(song).unique_id,
            "music/file_1.mp3",
            "music/mine.mp3",
        ]
        [contents, issued] = [path for path in files.rglob("*") if path.is_file() and path.name != "mine.mp3"]
        assert contents.samefile(issued)
        third = await telegram.send_file(alice, song)
        assert (
            telegram.file_location(third.to_dict()["audio"]["file_id"]).name == "file_2.mp3"
        )  # no name is used again
        for message in telegram.messages(alice):
            telegram.delete_message(alice, message.message_id)
        close_telegram(telegram, database)
    assert names(files) == ["music/mine.mp3"]


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_kill_at_any_moment_leaves_what_was_written(tmp_path: Path) -> None:
    """The child is killed while it writes; what it had reported as written is there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            database = Database(tmp_path)
            for number in range(10**9):
                database.write({("a", str(number % 7)): str(number), ("b", str(number % 7)): str(number)})
                os.write(writing, b"%d\n" % number)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as reports:
        while int(reports.readline()) < 60:
            pass
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        last = int(["60", *reports.read().split()][-1])
    with closing(Database(tmp_path)) as database:
        one, other = (dict(database.read(kind)) for kind in "ab")
        assert one == other  # both records of a transaction
        assert max(map(int, one.values())) in (last, last + 1)


async def test_another_token_makes_another_bot(tmp_path: Path) -> None:
    with closing(Database(tmp_path)) as database:
        telegram = open_telegram(database, tmp_path, token="1:abcdef")
        group = telegram.add_group("Band", [telegram.add_user("Alice")])
        telegram.post(group, telegram.bot, {"text": "hello"})
    with closing(Database(tmp_path)) as database:
        telegram = open_telegram(database, tmp_path, token="2:abcdef")
        assert telegram.chats[group.id].members[2] == "member"
        assert telegram.messages(group.id)[0].sender is telegram.bot
        async with run_telegram(telegram):
            pass


def spoil_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def spoil_record(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("""UPDATE record SET text = '{"id": "?"}' WHERE kind = 'user'""")


def lose_record(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM record WHERE kind = 'user'")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_version, "was written by another version of stemdrop"),
        (spoil_record, "is damaged"),
        (lose_record, "is damaged"),
        (lambda path: path.write_bytes(b"no database at all" * 400), "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:6000]), "is damaged"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_plain_line(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    with closing(Database(tmp_path)) as database:
        telegram = open_telegram(database, tmp_path / "telegram")
        telegram.send_text(telegram.add_user("Alice").id, "hello")
        with pytest.raises(DatabaseError, match="is in use by another sandbox"):
            Database(tmp_path)
    spoil(database.path)
    with pytest.raises(DatabaseError, match=reason) as raised, closing(Database(tmp_path)) as database:
        open_telegram(database, tmp_path / "telegram")
    assert "\n" not in str(raised.value)
    assert str(database.path) in str(raised.value)
