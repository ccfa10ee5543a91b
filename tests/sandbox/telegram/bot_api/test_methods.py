"""Every method as a real library calls it: what comes back de-serialises, and the chat shows it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import telegram as ptb
from telegram import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputFile,
    InputMediaAudio,
    InputMediaDocument,
)

from sandbox.telegram.bot_api.methods import METHODS
from sandbox.telegram.chats import User
from sandbox.telegram.person_actions import Telegram

Maker = Callable[..., Path]


def keyboard(*data: str) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup([[InlineKeyboardButton(word, callback_data=word)] for word in data])


async def test_the_bot_knows_itself(bot: ptb.Bot, tg: Telegram) -> None:
    me = await bot.get_me()
    assert (me.id, me.is_bot, me.username) == (int(tg.token.split(":")[0]), True, "stemdrop_sandbox_bot")
    assert me.can_read_all_group_messages


async def test_a_message_with_everything(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    question = tg.send_text(alice.id, "/start now")
    sent = await bot.send_message(
        alice.id,
        "<b>Hi</b> &amp; <a href='https://example.org'>there</a> 🎵",
        parse_mode="HTML",
        reply_markup=keyboard("one", "two"),
        reply_parameters=ptb.ReplyParameters(question.message_id),
        disable_notification=True,
        link_preview_options=ptb.LinkPreviewOptions(is_disabled=True),
    )
    assert sent.text == "Hi & there 🎵"
    assert [(e.type, e.offset, e.length, e.url) for e in sent.entities] == [
        ("bold", 0, 2, None),
        ("text_link", 5, 5, "https://example.org"),
    ]
    assert sent.reply_to_message is not None
    assert sent.reply_to_message.text == "/start now"
    assert sent.from_user is not None
    assert sent.from_user.is_bot
    shown = tg.messages(alice.id)[-1]
    assert (shown.text, [button["text"] for button in shown.buttons]) == ("Hi & there 🎵", ["one", "two"])


async def test_a_command_carries_its_entity_so_that_handlers_see_it(
    bot: ptb.Bot, tg: Telegram, alice: User
) -> None:
    tg.send_text(alice.id, "🎵 /start@stemdrop_sandbox_bot x")
    (update,) = await bot.get_updates()
    assert update.message is not None
    assert update.message.parse_entities(["bot_command"]).popitem()[1] == "/start@stemdrop_sandbox_bot"
    assert update.effective_user is not None
    assert update.effective_user.language_code == "zh-hans"


async def test_edits_keep_the_history_and_drop_the_keyboard_when_it_is_not_sent(
    bot: ptb.Bot, tg: Telegram, alice: User
) -> None:
    sent = await bot.send_message(alice.id, "choose", reply_markup=keyboard("a"))
    edited = await bot.edit_message_text("working", alice.id, sent.message_id)
    assert isinstance(edited, ptb.Message)
    assert edited.text == "working"
    assert edited.reply_markup is None
    assert edited.edit_date is not None
    await bot.edit_message_reply_markup(alice.id, sent.message_id, reply_markup=keyboard("b"))
    shown = tg.message(alice.id, sent.message_id)
    assert shown.buttons[0]["callback_data"] == "b"
    assert [revision.content["text"] for revision in shown.history] == ["choose", "working"]


async def test_delete(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    sent = await bot.send_message(alice.id, "gone soon")
    assert await bot.delete_message(alice.id, sent.message_id)
    assert tg.messages(alice.id) == []


async def test_audio_streamed_from_a_file_with_a_thumbnail(
    bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Maker, thumbnail: bytes
) -> None:
    path = make_audio("x.mp3", title="Tag")
    with path.open("rb") as file:
        sent = await bot.send_audio(
            alice.id,
            InputFile(file, filename="song (vocals).mp3", read_file_handle=False),
            title="song (vocals)",
            performer="Band",
            duration=7,
            thumbnail=thumbnail,
            caption="*done*",
            parse_mode="MarkdownV2",
        )
    audio = sent.audio
    assert audio is not None
    assert (audio.title, audio.performer, audio.duration.total_seconds()) == ("song (vocals)", "Band", 7)
    assert (audio.file_name, audio.mime_type) == ("song (vocals).mp3", "audio/mpeg")
    assert audio.thumbnail is not None
    assert audio.thumbnail.width == 320
    assert (sent.caption, sent.caption_entities[0].type) == ("done", "bold")
    downloaded = await (await bot.get_file(audio)).download_as_bytearray()
    assert bytes(downloaded) == path.read_bytes() == tg.file_location(audio.file_id).read_bytes()


async def test_a_file_id_that_has_expired_names_nothing(
    bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Maker
) -> None:
    sent = await bot.send_audio(alice.id, make_audio("a.mp3"))
    assert sent.audio is not None
    tg.forget_file(sent.audio.file_id)
    with pytest.raises(ptb.error.BadRequest, match=r"(?i)wrong file identifier"):
        await bot.send_audio(alice.id, sent.audio.file_id)
    with pytest.raises(ptb.error.BadRequest, match=r"(?i)invalid file_id"):
        await bot.get_file(sent.audio.file_id)


async def test_voice_and_document(bot: ptb.Bot, alice: User, make_audio: Maker) -> None:
    voice = await bot.send_voice(alice.id, make_audio("v.ogg"), duration=3)
    assert voice.voice is not None
    assert (voice.voice.mime_type, voice.voice.duration.total_seconds()) == ("audio/ogg", 3)
    document = await bot.send_document(alice.id, make_audio("d.flac"), caption="lossless")
    assert document.document is not None
    assert (document.document.file_name, document.document.mime_type) == ("d.flac", "audio/flac")
    detected = await bot.send_document(alice.id, make_audio("d.mp3"))
    assert detected.audio is not None
    kept = await bot.send_document(alice.id, make_audio("e.mp3"), disable_content_type_detection=True)
    assert kept.document is not None


async def test_an_album_of_new_and_known_files(
    bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Maker, thumbnail: bytes
) -> None:
    song = await tg.send_file(alice.id, make_audio("song.mp3"))
    known = await bot.send_audio(alice.id, make_audio("known.m4a"))
    assert known.audio is not None
    sent = await bot.send_media_group(
        alice.id,
        [
            InputMediaAudio(
                make_audio("a.mp3", title="a").read_bytes(),
                title="A",
                filename="a.mp3",
                thumbnail=thumbnail,
                caption="<i>one</i>",
                parse_mode="HTML",
            ),
            InputMediaAudio(known.audio.file_id),
            InputMediaAudio(make_audio("c.m4a").read_bytes(), filename="c.m4a"),
        ],
        reply_parameters=ptb.ReplyParameters(song.message_id),
    )
    assert len({message.media_group_id for message in sent}) == 1
    assert all(message.reply_to_message.message_id == song.message_id for message in sent)
    first = sent[0].audio
    assert first is not None
    assert (first.title, first.thumbnail is not None, sent[0].caption) == ("A", True, "one")
    assert sent[1].audio.file_id == known.audio.file_id
    assert [message.kind for message in tg.bot_messages(alice.id)] == ["audio"] * 4
    documents = await bot.send_media_group(
        alice.id,
        [InputMediaDocument(make_audio(name).read_bytes(), filename=name) for name in ("x.wav", "y.wav")],
    )
    assert [message.document.file_name for message in documents] == ["x.wav", "y.wav"]


async def test_a_tap_is_answered_once_and_its_answer_is_seen(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    sent = await bot.send_message(alice.id, "choose", reply_markup=keyboard("vocals"))
    query = tg.tap(alice.id, sent.message_id, "vocals")
    (update,) = await bot.get_updates(timeout=10)
    received = update.callback_query
    assert received is not None
    assert (received.data, received.from_user.first_name) == ("vocals", "Alice")
    assert received.message is not None
    assert received.message.message_id == sent.message_id
    assert tg.unanswered_queries == [query]
    assert await received.answer("working on it", show_alert=True)
    assert (query.is_answered, query.answer_text, query.is_alert) == (True, "working on it", True)
    assert tg.unanswered_queries == []


async def test_commands_and_descriptions(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    scope = ptb.BotCommandScopeChat(alice.id)
    assert await bot.set_my_commands([("start", "begin")], language_code="zh")
    assert await bot.set_my_commands([("jobs", "open jobs")], scope=scope)
    assert [command.command for command in await bot.get_my_commands(language_code="zh")] == ["start"]
    assert [command.command for command in await bot.get_my_commands(scope=scope)] == ["jobs"]
    assert await bot.delete_my_commands(scope=scope)
    assert await bot.get_my_commands(scope=scope) == ()
    assert await bot.set_my_description("what I do")
    assert await bot.set_my_short_description("short", language_code="en")
    assert tg.descriptions == {("description", ""): "what I do", ("short_description", "en"): "short"}


async def test_chats_members_actions_and_reactions(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    bob = tg.add_user("Bob", username="bobby")
    group = tg.add_group("Band", [alice, bob])
    assert (await bot.get_chat(bob.id)).username == "bobby"
    assert (await bot.get_chat(group.id)).title == "Band"
    assert isinstance(await bot.get_chat_member(group.id, alice.id), ptb.ChatMemberOwner)
    assert isinstance(await bot.get_chat_member(group.id, bob.id), ptb.ChatMemberMember)
    stranger = tg.add_user("Eve")
    assert isinstance(await bot.get_chat_member(group.id, stranger.id), ptb.ChatMemberLeft)
    assert await bot.send_chat_action(group.id, "upload_document")
    song = tg.send_text(group.id, "nice", user_id=bob.id)
    assert await bot.set_message_reaction(group.id, song.message_id, "👍")
    assert [event.kind for event in tg.events if event.chat_id == group.id] == [
        "action",
        "message",
        "reaction",
    ]
    assert await bot.leave_chat(group.id)
    with pytest.raises(ptb.error.Forbidden, match="kicked from the group chat"):
        await bot.send_message(group.id, "still here?")


async def test_topics_of_a_forum(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    forum = tg.add_group("Forum", [alice], forum=True)
    thread_id = tg.add_topic(forum.id, "songs")
    song = tg.send_text(forum.id, "in the topic", thread_id=thread_id)
    tg.send_text(forum.id, "in General")
    opening, in_topic, in_general = [update.message for update in await bot.get_updates(timeout=10)]
    assert opening is not None
    assert opening.forum_topic_created is not None
    assert opening.message_thread_id == opening.message_id == thread_id
    assert in_topic is not None
    assert (in_topic.message_thread_id, in_topic.is_topic_message) == (thread_id, True)
    assert in_topic.reply_to_message is not None
    assert in_topic.reply_to_message.forum_topic_created is not None
    assert in_general is not None
    assert (in_general.message_thread_id, in_general.is_topic_message) == (None, None)
    sent = await bot.send_message(forum.id, "here", message_thread_id=thread_id)
    assert (sent.message_thread_id, sent.is_topic_message) == (thread_id, True)
    reply = await bot.send_message(forum.id, "reply", reply_parameters=ptb.ReplyParameters(song.message_id))
    assert reply.message_thread_id == thread_id
    assert [message.text for message in tg.messages(forum.id, thread_id=thread_id)][1:] == [
        "in the topic",
        "here",
        "reply",
    ]


async def test_every_method_of_the_table_exists_in_the_library() -> None:
    names = {name.replace("_", "").lower() for name in dir(ptb.Bot)}
    assert {method for method in METHODS if method.lower() not in names} == set()


async def test_the_log_tells_what_the_bot_called(
    bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Maker
) -> None:
    await bot.send_audio(alice.id, make_audio("a.mp3"))
    call = tg.calls[-1]
    assert (call.method, call.status, call.parameters["chat_id"]) == ("sendAudio", 200, str(alice.id))
    assert call.parameters["audio"]["file_name"] == "a.mp3"
    assert call.parameters["audio"]["size_bytes"] > 1000
