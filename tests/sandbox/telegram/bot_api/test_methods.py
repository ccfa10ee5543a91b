"""Each Bot API method, called by python-telegram-bot: it parses the answer, and the chat shows the effect."""

import json
from collections.abc import Callable
from pathlib import Path

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


async def test_get_me(bot: ptb.Bot, tg: Telegram) -> None:
    me = await bot.get_me()
    assert (me.id, me.is_bot, me.username) == (int(tg.token.split(":")[0]), True, "stemdrop_sandbox_bot")
    assert me.can_read_all_group_messages


async def test_send_message(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    question = tg.send_text(alice.id, "/start now")
    sent = await bot.send_message(
        alice.id,
        "🎵 /jobs https://example.org  \n",
        reply_markup=keyboard("one", "two"),
        reply_parameters=ptb.ReplyParameters(question.message_id),
        link_preview_options=ptb.LinkPreviewOptions(is_disabled=True),
    )
    assert sent.text == "🎵 /jobs https://example.org"
    assert [(e.type, e.offset, e.length) for e in sent.entities] == [("bot_command", 3, 5), ("url", 9, 19)]
    assert sent.reply_to_message is not None
    assert sent.reply_to_message.text == "/start now"
    assert sent.from_user is not None
    assert sent.from_user.is_bot
    shown = tg.messages(alice.id)[-1]
    assert [button["text"] for button in shown.buttons] == ["one", "two"]


async def test_a_persons_command_has_its_entity(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    tg.send_text(alice.id, "🎵 /start@stemdrop_sandbox_bot x")
    (update,) = await bot.get_updates()
    assert update.message is not None
    assert update.message.parse_entities(["bot_command"]).popitem()[1] == "/start@stemdrop_sandbox_bot"
    assert update.effective_user is not None
    assert update.effective_user.language_code == "zh-hans"


async def test_an_edit_without_a_keyboard_removes_it_and_keeps_the_history(
    bot: ptb.Bot, tg: Telegram, alice: User
) -> None:
    sent = await bot.send_message(alice.id, "choose", reply_markup=keyboard("a"))
    edited = await bot.edit_message_text("working", alice.id, sent.message_id)
    assert isinstance(edited, ptb.Message)
    assert edited.text == "working"
    assert edited.reply_markup is None
    assert edited.edit_date is not None
    shown = tg.message(alice.id, sent.message_id)
    assert shown.buttons == []
    assert [revision.content["text"] for revision in shown.history] == ["choose"]


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
            caption="done: /jobs",
        )
    audio = sent.audio
    assert audio is not None
    assert (audio.title, audio.performer, audio.duration.total_seconds()) == ("song (vocals)", "Band", 7)
    assert (audio.file_name, audio.mime_type) == ("song (vocals).mp3", "audio/mpeg")
    assert audio.thumbnail is not None
    assert audio.thumbnail.width == 320
    assert (sent.caption, sent.caption_entities[0].type) == ("done: /jobs", "bot_command")
    downloaded = await (await bot.get_file(audio)).download_as_bytearray()
    assert bytes(downloaded) == path.read_bytes() == tg.file_location(audio.file_id).read_bytes()


async def test_voice_and_document(bot: ptb.Bot, alice: User, make_audio: Maker) -> None:
    voice = await bot.send_voice(alice.id, make_audio("v.ogg"), duration=3)
    assert voice.voice is not None
    assert (voice.voice.mime_type, voice.voice.duration.total_seconds()) == ("audio/ogg", 3)
    document = await bot.send_document(alice.id, make_audio("d.flac"), caption="lossless")
    assert document.document is not None
    assert (document.document.file_name, document.document.mime_type) == ("d.flac", "audio/flac")
    detected = await bot.send_document(alice.id, make_audio("d.mp3"))
    assert detected.audio is not None


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
                caption="one",
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


async def test_the_answer_to_a_callback_query_is_visible(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
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
    listed = [(json.loads(scope)["type"], code, commands) for (scope, code), commands in tg.commands.items()]
    assert listed == [
        ("default", "zh", [{"command": "start", "description": "begin"}]),
        ("chat", "", [{"command": "jobs", "description": "open jobs"}]),
    ]
    assert await bot.set_my_description("what I do")
    assert await bot.set_my_short_description("short", language_code="en")
    assert tg.descriptions == {("description", ""): "what I do", ("short_description", "en"): "short"}


async def test_chats_and_actions(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    bob = tg.add_user("Bob", username="bobby")
    group = tg.add_group("Band", [alice, bob])
    assert (await bot.get_chat(bob.id)).username == "bobby"
    assert (await bot.get_chat(group.id)).title == "Band"
    assert await bot.send_chat_action(group.id, "upload_document")
    assert [event.kind for event in tg.events if event.chat_id == group.id] == ["action"]


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


async def test_python_telegram_bot_has_every_method_of_the_table() -> None:
    names = {name.replace("_", "").lower() for name in dir(ptb.Bot)}
    assert {method for method in METHODS if method.lower() not in names} == set()


async def test_the_call_log_has_method_status_and_parameters(
    bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Maker
) -> None:
    await bot.send_audio(alice.id, make_audio("a.mp3"))
    call = tg.calls[-1]
    assert (call.method, call.status, call.parameters["chat_id"]) == ("sendAudio", 200, str(alice.id))
    assert call.parameters["audio"]["file_name"] == "a.mp3"
    assert call.parameters["audio"]["size_bytes"] > 1000
