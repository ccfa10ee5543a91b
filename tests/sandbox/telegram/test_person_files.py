"""The kind of message that a person's file becomes, by its content and extension."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import telegram as ptb

from sandbox.telegram.chats import User
from sandbox.telegram.media import jpeg_from_colour, jpeg_size
from sandbox.telegram.person_actions import Telegram

Maker = Callable[..., Path]


async def received(bot: ptb.Bot) -> ptb.Message:
    (update,) = await bot.get_updates(timeout=10)
    assert update.message is not None
    return update.message


async def test_an_mp3_is_audio_with_its_tags_and_its_cover_as_a_small_jpeg(
    bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Maker
) -> None:
    path = make_audio("song.mp3", title="Morning", artist="Band", cover=jpeg_from_colour(800, 400))
    await tg.send_file(alice.id, path, caption="listen")
    message = await received(bot)
    audio = message.audio
    assert audio is not None
    assert (audio.title, audio.performer, audio.file_name) == ("Morning", "Band", "song.mp3")
    assert (audio.mime_type, audio.file_size) == ("audio/mpeg", path.stat().st_size)
    assert audio.duration == timedelta(seconds=1)
    assert message.caption == "listen"
    assert audio.thumbnail is not None
    assert (audio.thumbnail.width, audio.thumbnail.height) == (320, 160)
    jpeg = await (await bot.get_file(audio.thumbnail.file_id)).download_as_bytearray()
    assert jpeg_size(bytes(jpeg)) == (320, 160)


async def test_each_format_comes_as_telegram_sends_it(
    bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Maker
) -> None:
    offset = 0
    for name, kind, field, mime in [
        ("song.m4a", None, "audio", "audio/mp4"),
        ("song.flac", None, "document", "audio/flac"),
        ("song.wav", None, "document", "audio/x-wav"),
        ("song.ogg", None, "document", "audio/ogg"),
        ("song.ogg", "voice", "voice", "audio/ogg"),
        ("song.flac", "audio", "audio", "audio/flac"),
        ("song.mp3", "document", "document", "audio/mpeg"),
    ]:
        await tg.send_file(alice.id, make_audio(name), kind=kind)
        (update,) = await bot.get_updates(offset=offset, timeout=10)
        offset = update.update_id + 1
        message = update.message
        assert message is not None
        assert message.effective_attachment is getattr(message, field), name
        assert message.effective_attachment.mime_type == mime


async def test_a_video_and_a_video_note(
    bot: ptb.Bot, tg: Telegram, alice: User, make_video: Callable[[str], Path]
) -> None:
    await tg.send_file(alice.id, make_video("clip.mp4"))
    await tg.send_file(alice.id, make_video("note.mp4"), kind="video_note")
    clip, note = [update.message for update in await bot.get_updates(timeout=10)]
    assert clip is not None
    assert clip.video is not None
    assert (clip.video.width, clip.video.height, clip.video.file_name) == (320, 240, "clip.mp4")
    assert note is not None
    assert note.video_note is not None
    assert note.video_note.length == 240


async def test_a_file_named_mp3_that_does_not_decode_is_a_document(
    tg: Telegram, alice: User, tmp_path: Path
) -> None:
    for content in [
        b"this is text, not music\n" * 500,
        b"ID3\x04\x00\x00" + b"\x00" * 5000,
        (b"\xff\xfb\x90\x64" + b"\xaa" * 413) * 20,  # frame headers between junk: opens, does not decode
    ]:
        path = tmp_path / "broken.mp3"
        path.write_bytes(content)
        document = (await tg.send_file(alice.id, path)).content["document"]
        assert (document["file_name"], document["mime_type"]) == ("broken.mp3", "audio/mpeg")
        assert document["file_size"] == len(content)


async def test_the_same_content_has_the_same_unique_id_and_another_file_id(
    bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Maker
) -> None:
    path = make_audio("song.mp3")
    for _ in range(2):
        await tg.send_file(alice.id, path)
    first, second = [update.message.audio for update in await bot.get_updates(timeout=10) if update.message]
    assert first is not None
    assert second is not None
    assert first.file_unique_id == second.file_unique_id
    assert first.file_id != second.file_id
    assert first.file_unique_id not in first.file_id


async def test_other_messages_of_a_person(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    kinds = ["photo", "sticker", "location", "contact", "dice"]
    for kind in kinds:
        tg.send_other(alice.id, kind)
    messages = [update.message for update in await bot.get_updates(timeout=10)]
    for kind, message in zip(kinds, messages, strict=True):
        assert message is not None
        assert getattr(message, kind)
        if kind in ("photo", "sticker"):
            attachment = message.photo[-1] if kind == "photo" else message.sticker
            assert attachment is not None
            assert await (await bot.get_file(attachment.file_id)).download_as_bytearray()
