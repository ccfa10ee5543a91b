"""An ordinary bot written with aiogram, as its documentation does it, works with the local Telegram.

Only the address of the Bot API server differs. aiogram checks the types of every answer.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiogram", reason="NOT TESTED with another library: aiogram is not for this Python")

from aiogram import Bot, Dispatcher, F, html
from aiogram.client.default import DefaultBotProperties
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.enums import ParseMode
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramConflictError,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.filters import Command, CommandStart
from aiogram.types import (
    BotCommand,
    BufferedInputFile,
    CallbackQuery,
    ChatMemberUpdated,
    FSInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaAudio,
    Message,
    ReactionTypeEmoji,
    ReplyParameters,
)
from aiogram.utils.media_group import MediaGroupBuilder

from sandbox.telegram.chats import User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram

Maker = Callable[..., Path]


@pytest.fixture
async def aiobot(tg: Telegram, url: str) -> AsyncIterator[Bot]:
    session = AiohttpSession(api=TelegramAPIServer.from_base(url))
    async with Bot(
        token=tg.token, session=session, default=DefaultBotProperties(parse_mode=ParseMode.HTML)
    ) as bot:
        yield bot


@pytest.fixture
def dp() -> Dispatcher:
    return Dispatcher()


@asynccontextmanager
async def polling(dp: Dispatcher, bot: Bot) -> AsyncIterator[None]:
    task = asyncio.create_task(dp.start_polling(bot, handle_signals=False, close_bot_session=False))
    try:
        yield
    finally:
        await dp.stop_polling()
        await task


async def test_the_echo_bot_of_its_documentation(
    aiobot: Bot, dp: Dispatcher, tg: Telegram, alice: User
) -> None:
    @dp.message(CommandStart())
    async def command_start_handler(message: Message) -> None:
        assert message.from_user is not None
        await message.answer(f"Hello, {html.bold(message.from_user.full_name)}!")

    @dp.message()
    async def echo_handler(message: Message) -> None:
        try:
            await message.send_copy(chat_id=message.chat.id)
        except TypeError:
            await message.answer("Nice try!")

    async with polling(dp, aiobot):
        tg.send_text(alice.id, "/start")
        tg.send_text(alice.id, "tell me /jobs")
        await tg.wait_for(lambda: len(tg.bot_messages(alice.id)) == 2)
    # Both updates are handled at once, so that either answer may be the first.
    greeting, echo = sorted((m.content for m in tg.bot_messages(alice.id)), key=lambda c: str(c["text"]))
    assert echo["text"] == "tell me /jobs"
    assert greeting == {"text": "Hello, Alice!", "entities": [{"type": "bold", "offset": 7, "length": 5}]}


async def test_buttons_answers_and_edits(aiobot: Bot, dp: Dispatcher, tg: Telegram, alice: User) -> None:
    @dp.message(Command("menu"))
    async def show_menu(message: Message) -> None:
        rows = [
            [InlineKeyboardButton(text="Vocals", callback_data="vocals")],
            [InlineKeyboardButton(text="Site", url="https://example.org/")],
        ]
        await message.reply("Choose:", reply_markup=InlineKeyboardMarkup(inline_keyboard=rows))

    @dp.callback_query(F.data == "vocals")
    async def choose(callback: CallbackQuery) -> None:
        assert isinstance(callback.message, Message)
        await callback.message.edit_text(
            "You chose <i>vocals</i>", reply_markup=callback.message.reply_markup
        )
        await callback.message.edit_reply_markup(reply_markup=None)
        await callback.answer("Good choice", show_alert=True)

    async with polling(dp, aiobot):
        asked = tg.send_text(alice.id, "/menu")
        (menu,) = await tg.wait_for(lambda: tg.bot_messages(alice.id))
        assert menu.reply_to is asked
        query = tg.tap(alice.id, menu.message_id, "vocals")
        await tg.wait_for(lambda: query.is_answered)
    assert (menu.text, menu.buttons, query.answer_text) == ("You chose vocals", [], "Good choice")


async def test_audio_by_upload_by_id_and_as_an_album(
    aiobot: Bot, tg: Telegram, alice: User, make_audio: Maker, thumbnail: bytes
) -> None:
    song = await tg.send_file(alice.id, make_audio("song.mp3"))
    path = make_audio("vocals.mp3", title="Vocals")
    sent = await aiobot.send_audio(
        alice.id,
        FSInputFile(path, filename="song (vocals).mp3"),
        caption="<b>done</b>",
        performer="Band",
        thumbnail=BufferedInputFile(thumbnail, "cover.jpg"),
        reply_parameters=ReplyParameters(message_id=song.message_id),
    )
    assert sent.audio is not None
    assert (sent.audio.title, sent.audio.performer, sent.caption) == ("Vocals", "Band", "done")
    again = await aiobot.send_audio(alice.id, sent.audio.file_id)
    assert again.audio is not None
    assert again.audio.file_unique_id == sent.audio.file_unique_id
    album = MediaGroupBuilder(caption="both")
    album.add_audio(media=sent.audio.file_id)
    album.add_audio(media=FSInputFile(make_audio("drums.m4a")))
    pair = await aiobot.send_media_group(alice.id, media=album.build())  # type: ignore[arg-type]
    assert [(message.media_group_id, message.caption) for message in pair] == [
        (pair[0].media_group_id, "both"),
        (pair[0].media_group_id, None),
    ]
    voice = await aiobot.send_voice(alice.id, FSInputFile(make_audio("v.ogg")))
    document = await aiobot.send_document(alice.id, FSInputFile(make_audio("d.flac")))
    assert (voice.voice is not None, document.document is not None) == (True, True)
    buffer = io.BytesIO()
    await aiobot.download(sent.audio, destination=buffer)
    assert buffer.getvalue() == path.read_bytes()


async def test_commands_descriptions_and_chats(aiobot: Bot, tg: Telegram, alice: User) -> None:
    group = tg.add_group("Band", [alice])
    await aiobot.set_my_commands([BotCommand(command="start", description="begin")])
    assert [command.command for command in await aiobot.get_my_commands()] == ["start"]
    await aiobot.delete_my_commands()
    assert await aiobot.get_my_commands() == []
    await aiobot.set_my_description("what I do")
    await aiobot.set_my_short_description("short")
    assert (await aiobot.get_chat(group.id)).title == "Band"
    assert (await aiobot.get_chat_member(group.id, alice.id)).status == "creator"
    song = tg.send_text(alice.id, "song")
    for emoji in ("👍", ""):
        given = [ReactionTypeEmoji(emoji=emoji)] if emoji else []
        await aiobot.set_message_reaction(alice.id, song.message_id, given)  # type: ignore[arg-type]
        assert song.reaction == emoji
    await aiobot.send_chat_action(alice.id, "upload_document")
    await aiobot.delete_message(alice.id, song.message_id)
    assert (await aiobot.get_webhook_info()).url == ""


async def test_topics_and_migration(
    aiobot: Bot, dp: Dispatcher, tg: Telegram, alice: User, make_audio: Maker
) -> None:
    @dp.message(F.audio)
    async def take(message: Message) -> None:
        await message.reply("taken")

    @dp.message(F.migrate_to_chat_id)
    async def migrate(message: Message) -> None:
        assert message.migrate_to_chat_id is not None
        await aiobot.send_message(message.migrate_to_chat_id, "moved along")

    forum, group = tg.add_group("Forum", [alice], forum=True), tg.add_group("Band", [alice])
    thread_id = tg.add_topic(forum.id, "songs")
    async with polling(dp, aiobot):
        await tg.send_file(forum.id, make_audio("song.mp3"), thread_id=thread_id)
        (reply,) = await tg.wait_for(lambda: tg.bot_messages(forum.id))
        assert reply.thread_id == thread_id
        new = tg.migrate_group(group.id)
        await tg.wait_for(lambda: tg.bot_messages(new.id))
    with pytest.raises(TelegramMigrateToChat) as error:
        await aiobot.send_message(group.id, "still here?")
    assert error.value.migrate_to_chat_id == new.id
    await aiobot.send_chat_action(
        forum.id, "typing", message_thread_id=1
    )  # of General, which has no number else
    tg.close_topic(forum.id, thread_id)
    with pytest.raises(TelegramBadRequest, match="TOPIC_CLOSED"):
        await aiobot.send_message(forum.id, "late", message_thread_id=thread_id)


async def test_errors_have_its_types(
    aiobot: Bot, dp: Dispatcher, url: str, tg: Telegram, alice: User, tmp_path: Path
) -> None:
    changes: list[str] = []

    @dp.my_chat_member()
    async def change(event: ChatMemberUpdated) -> None:
        changes.append(event.new_chat_member.status)
        if event.new_chat_member.status == "member":
            await event.answer("back again")

    async def expect(kind: type[Exception], call: Callable[[], Awaitable[Any]]) -> None:
        with pytest.raises(kind):
            await call()

    async def send() -> Message:
        return await aiobot.send_message(alice.id, "hello")

    async with polling(dp, aiobot):
        tg.block_bot(alice.id)
        await expect(TelegramForbiddenError, send)
        tg.unblock_bot(alice.id)
        await tg.wait_for(lambda: tg.bot_messages(alice.id))
    assert changes == ["kicked", "member"]
    tg.faults.add(FaultKind.TOO_MANY_REQUESTS, retry_after_s=7)
    with pytest.raises(TelegramRetryAfter) as error:
        await send()
    assert error.value.retry_after == 7
    tg.faults.add(FaultKind.SERVER_ERROR)
    await expect(TelegramServerError, send)
    await expect(TelegramBadRequest, lambda: aiobot.send_message(1, "x"))
    await expect(TelegramBadRequest, lambda: aiobot.send_message(alice.id, "<b>x"))
    await expect(TelegramBadRequest, lambda: aiobot.send_media_group(alice.id, [InputMediaAudio(media="x")]))
    big = tmp_path / "big.bin"
    with big.open("wb") as file:
        file.truncate(50 * 1024 * 1024 + 1)
    await expect(TelegramEntityTooLarge, lambda: aiobot.send_document(alice.id, FSInputFile(big)))
    await expect(TelegramNotFound, aiobot.get_forum_topic_icon_stickers)
    await aiobot.set_webhook(f"{url}/elsewhere")
    await expect(TelegramConflictError, aiobot.get_updates)
    await aiobot.delete_webhook(drop_pending_updates=True)
    async with Bot("1234567:wrong", session=AiohttpSession(api=TelegramAPIServer.from_base(url))) as other:
        await expect(TelegramUnauthorizedError, other.get_me)
