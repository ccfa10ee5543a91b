"""Commands, and the one short answer to everything that is no song."""

from pathlib import Path

from product import BotRoom

from sandbox.telegram.chats import User
from sandbox.telegram.faults import FaultKind
from stemdrop.domain.jobs import JobState


async def test_commands_answer_in_the_users_language(room: BotRoom, alice: User, mei: User) -> None:
    for command, english, chinese in (
        ("/start", "Drop a song here", "把歌发到"),
        ("/help", "At most 20 MB and 60 minutes", "20 MB"),
        ("/cancel", "There is nothing to cancel.", "没有"),
        ("/start hello", "Drop a song here", "把歌发到"),
        ("/help@stemdrop_sandbox_bot", "How it works", "20 MB"),
    ):
        (in_english,) = await room.says(alice, command)
        (in_chinese,) = await room.says(mei, command)
        assert english in in_english.text, command
        assert chinese in in_chinese.text, command


async def test_users_of_unsupported_languages_read_english(room: BotRoom) -> None:
    for language_code in (None, "", "de", "xx-yy"):
        user = room.telegram.add_user("Someone", language_code=language_code)
        (answer,) = await room.says(user, "/start")
        assert "Drop a song here" in answer.text, language_code


async def test_every_text_gets_one_short_helpful_reply(room: BotRoom, alice: User) -> None:
    for text, start in (
        ("/stems", "Send me a song, or reply to one"),
        ("/sing", "I don't know this command."),
        ("/start@another_bot", "I don't know this command."),
        ("hello", "Send me a song: as audio"),
        ("https://example.com/song.mp3", "I can't open links."),
        ("listen: http://example.com now", "I can't open links."),
        ("🎵" * 2000, "Send me a song: as audio"),
    ):
        (answer,) = await room.says(alice, text)
        assert answer.text.startswith(start), text
        assert len(answer.text) < 200, text
        assert answer.reply_to is not None, text


async def test_every_other_message_gets_one_reply(room: BotRoom, alice: User) -> None:
    for kind in ("photo", "sticker", "location", "contact", "dice"):
        sent = room.telegram.send_other(alice.id, kind)
        await room.handle()
        (answer,) = room.after(sent)
        assert answer.text.startswith("I can only work with sound"), kind
    assert await room.product.jobs(alice.id) == []


async def test_an_animation_is_not_a_song(room: BotRoom, alice: User) -> None:
    """It comes with a document beside it."""
    file = {"file_id": "x", "file_unique_id": "y", "file_name": "cat.mp4", "mime_type": "video/mp4"}
    moving = {**file, "width": 10, "height": 10, "duration": 3}
    chat = room.telegram.chat(alice.id)
    sent = room.telegram.post(chat, alice, {"animation": moving, "document": file})
    await room.handle()
    (answer,) = room.after(sent)
    assert answer.text.startswith("I can only work with sound")
    assert await room.product.jobs(alice.id) == []


async def test_messages_in_a_group_get_no_reply(room: BotRoom, alice: User) -> None:
    group = room.telegram.add_group("Band", [alice], supergroup=True)
    first = room.telegram.send_text(group.id, "hello everyone")
    for text in ("https://example.com/song.mp3", "/start@another_bot"):
        room.telegram.send_text(group.id, text)
    for kind in ("photo", "sticker", "location", "contact", "dice"):
        room.telegram.send_other(group.id, kind)
    await room.handle()
    assert room.after(first) == []
    assert not room.telegram.updates.pending


async def test_commands_work_in_a_group_and_in_its_topic(room: BotRoom, alice: User) -> None:
    forum = room.telegram.add_group("Band", [alice], forum=True)
    thread_id = room.telegram.add_topic(forum.id, "Demos")
    (answer,) = await room.says(alice, "/help", chat_id=forum.id, thread_id=thread_id)
    assert "How it works" in answer.text
    assert answer.thread_id == thread_id


async def test_edited_messages_are_ignored(room: BotRoom, alice: User) -> None:
    sent = room.telegram.send_text(alice.id, "hello")
    await room.handle()
    room.telegram.edit_text(alice.id, sent.message_id, "/start")
    await room.handle()
    assert len(room.after(sent)) == 1


async def test_cancel_cancels_only_the_jobs_of_this_chat_without_a_result(
    room: BotRoom, alice: User, song: Path
) -> None:
    bob = room.telegram.add_user("Bob")
    group = room.telegram.add_group("Band", [alice, bob])
    mine = [await room.menu(alice, song) for _ in range(2)]
    of_bob = await room.menu(bob, song)
    in_group = await room.menu(alice, song, chat_id=group.id, caption="/stems")
    answer = (await room.says(alice, "/cancel"))[-1]
    assert answer.text == "Cancelled 2 songs."
    assert [menu.text for menu in mine] == ["✖️ Cancelled: “Morning Line”."] * 2
    assert {button["text"] for menu in mine for button in menu.buttons} == {"↩️ Choose again"}
    assert of_bob.buttons
    assert in_group.buttons
    states = {job.chat_id: job.state for job in await room.product.jobs(alice.id)}
    assert states == {alice.id: JobState.CANCELLED, group.id: JobState.CHOOSING}
    (again,) = await room.says(alice, "/cancel")
    assert again.text == "There is nothing to cancel."


async def test_cancel_reports_its_work_although_the_first_reply_failed(
    room: BotRoom, alice: User, song: Path
) -> None:
    menus = [await room.menu(alice, song) for _ in range(2)]
    fault = room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage")
    assert await room.says(alice, "/cancel") == []
    assert fault.hits == 1
    await room.handle_again()
    assert room.telegram.bot_messages(alice.id)[-1].text == "Cancelled 2 songs."
    assert [menu.text.startswith("✖️ Cancelled") for menu in menus] == [True] * 2
