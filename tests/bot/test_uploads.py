"""A song arrives: it is answered with the modes, or with why it cannot be split, before anything is paid."""

import json
import wave
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
from product import BotRoom, open_product
from recordings import record

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.media import jpeg_from_colour
from sandbox.telegram.message_content import file_content
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import JobState, SourceKind
from stemdrop.errors import TryLater

LIMIT_BYTES = 20 * 1024 * 1024


async def test_a_song_is_answered_with_the_modes_as_a_reply(room: BotRoom, alice: User, song: Path) -> None:
    sent = await room.sends(alice, song)
    (menu,) = room.after(sent)
    assert menu.reply_to is sent
    assert menu.text == "🎵 “Morning Line”\nHow do you want it split?"
    assert len(menu.buttons) == 4
    (job,) = await room.product.jobs(alice.id)
    assert (job.state, job.chat_id, job.message_id) == (JobState.CHOOSING, alice.id, menu.message_id)
    assert (job.source.kind, job.source.duration_s) == (SourceKind.AUDIO, 30)
    assert job.source.size_bytes == len(read(song))
    assert job.source.performer


@pytest.mark.parametrize(
    ("name", "kind", "title"),
    [
        ("a.ogg", "voice", "Voice message"),
        ("clip.mp4", "video", "clip"),
        ("a.mp4", "video_note", "Video"),
        ("My take.wav", None, "My take"),
        ("My take.flac", None, "My take"),
        ("My take.m4a", None, "My take"),
    ],
)
async def test_every_kind_of_audio_is_taken(
    room: BotRoom, alice: User, tmp_path: Path, name: str, kind: str | None, title: str
) -> None:
    path = record(tmp_path / name, seconds=2, picture=name.endswith(".mp4"))
    menu = await room.menu(alice, path, kind=kind)
    assert f"“{title}”" in menu.text
    (job,) = await room.product.jobs(alice.id)
    assert job.source.duration_s == 2
    assert job.source.size_bytes == len(read(path))


async def test_the_content_of_a_document_decides_its_kind(room: BotRoom, alice: User, tmp_path: Path) -> None:
    path = record(tmp_path / "song.wav")
    for name, mime_type, title in (
        ("1234", "audio/vnd.wave", "1234"),
        ("1234", "application/octet-stream", "1234"),
        ("song.mp3 (1)", "application/octet-stream", "song"),
        ("song.m4a", "audio/mp4", "song"),
    ):
        menu = await room.menu(alice, path, file_name=name, mime_type=mime_type)
        assert f"“{title}”" in menu.text, (name, mime_type)
        job, *_ = await room.product.jobs(alice.id)  # the newest
        assert (job.source.title, job.source.extension) == (title, ".wav"), (name, mime_type)


async def test_a_file_without_sound_is_refused_and_makes_no_job(room: BotRoom, alice: User) -> None:
    files = room.telegram.files
    for name, content, says in (
        ("song.wav", b"just some text\n" * 100, "I can't find any sound"),
        ("song.mp3", b"#EXTM3U\n/etc/passwd\n", "I can't find any sound"),
        ("song.flac", b"", "This file is empty"),
        ("report.pdf", b"%PDF-1.4", "I don't support this file type"),
        ("archive.zip", b"PK\x03\x04", "I don't support this file type"),
        ("song.xyz", b"no sound at all", "I can't find any sound"),
    ):
        # posted as it is: no client sends an empty file
        document = file_content(files, files.read(BytesIO(content)), name, "document", None)
        sent = room.telegram.post(room.telegram.chat(alice.id), alice, document)
        await room.handle()
        (answer,) = room.after(sent)
        assert answer.text.startswith(says), name
        assert answer.reply_to is sent, name
        assert not answer.buttons, name
    await nothing_was_made(room, alice)


async def test_a_video_without_sound_is_told(room: BotRoom, alice: User, tmp_path: Path) -> None:
    sent = await room.sends(alice, record(tmp_path / "silent.mp4", sound=False, picture=True))
    (answer,) = room.after(sent)
    assert "can't find any sound" in answer.text
    await nothing_was_made(room, alice)


async def test_a_file_over_the_limit_is_refused_with_both_sizes_and_not_downloaded(
    room: BotRoom, alice: User
) -> None:
    big = BytesIO(bytes(LIMIT_BYTES + 1024 * 1024))
    sent = await room.telegram.send_file(alice.id, big, kind="document", file_name="long.wav")
    await room.handle()
    (answer,) = room.after(sent)
    assert "21 MB" in answer.text
    assert "20 MB" in answer.text
    assert "getFile" not in [call.method for call in room.telegram.calls]
    await nothing_was_made(room, alice)


async def test_a_song_of_over_an_hour_is_refused(room: BotRoom, alice: User, tmp_path: Path) -> None:
    sent = await room.sends(alice, silent_wav(tmp_path / "set.wav", rate=1000, seconds=3661))
    (answer,) = room.after(sent)
    assert answer.text.startswith("This is too long: 62 minutes. I can take at most 60")
    await nothing_was_made(room, alice)


@pytest.mark.parametrize("claimed_s", [1, 3661])
async def test_a_length_that_its_sender_cannot_claim_is_measured(
    room: BotRoom, alice: User, song: Path, claimed_s: int
) -> None:
    """It neither makes the song cheaper nor has it refused."""
    content = room.telegram.files.read_path(song)
    media = room.telegram.files.add_media("audio", content, "set.mp3", duration_s=claimed_s)
    room.telegram.post(room.telegram.chat(alice.id), alice, {"audio": media.to_dict()})
    await room.handle()
    (job,) = await room.product.jobs(alice.id)
    assert job.source.duration_s == 30


async def test_a_file_that_telegram_does_not_have_is_refused(
    room: BotRoom, alice: User, tmp_path: Path
) -> None:
    room.telegram.faults.add(FaultKind.FILE_GONE, method="getFile")
    sent = await room.sends(alice, record(tmp_path / "song.wav"))
    (answer,) = room.after(sent)
    assert answer.text == "Telegram does not give me this file. Please send it again."
    await nothing_was_made(room, alice)


@pytest.mark.parametrize("times", [2, None])
async def test_a_file_that_is_temporarily_unavailable_is_asked_for_again(
    room: BotRoom, alice: User, tmp_path: Path, times: int | None
) -> None:
    room.telegram.faults.add(FaultKind.FILE_UNAVAILABLE, method="getFile", times=times)
    sent = await room.sends(alice, record(tmp_path / "song.wav", seconds=2))
    (answer,) = room.after(sent)
    assert ("Please send it again" in answer.text) is (times is None)


@pytest.mark.parametrize(
    "fault", [FaultKind.RESET_MID_DOWNLOAD, FaultKind.RESET_BEFORE, FaultKind.SERVER_ERROR]
)
async def test_a_broken_download_is_repeated(
    room: BotRoom, alice: User, tmp_path: Path, fault: FaultKind, caplog: pytest.LogCaptureFixture
) -> None:
    handler = room.product.updates(room.application)
    order = room.telegram.faults.add(fault, method="download", times=2)
    sent = await room.telegram.send_file(alice.id, record(tmp_path / "song.wav"))
    (update,) = room.telegram.updates.pending
    for _ in range(2):
        with pytest.raises(TryLater):
            await handler.run(json.dumps(update))
    assert order.hits == 2
    assert room.after(sent) == []
    await nothing_was_made(room, alice)
    assert room.telegram.token not in caplog.text
    await handler.run(json.dumps(update))
    (menu,) = room.after(sent)
    assert len(menu.buttons) == 4


async def test_a_refused_typing_action_does_not_postpone_a_song(
    room: BotRoom, alice: User, tmp_path: Path
) -> None:
    fault = room.telegram.faults.add(
        FaultKind.TOO_MANY_REQUESTS, method="sendChatAction", times=None, retry_after_s=30
    )
    menu = await room.menu(alice, record(tmp_path / "song.wav"))
    assert len(menu.buttons) == 4
    assert fault.hits == 1


async def test_an_update_delivered_twice_makes_one_job_and_one_message(
    room: BotRoom, alice: User, song: Path
) -> None:
    sent = await room.telegram.send_file(alice.id, song)
    (update,) = room.telegram.updates.pending
    await room.handle()
    room.telegram.updates.add("message", update["message"])
    await room.handle()
    assert len(room.after(sent)) == 1
    assert len(await room.product.jobs(alice.id)) == 1


async def test_an_update_handled_again_after_a_crash_still_gets_its_message(
    room: BotRoom, alice: User, song: Path
) -> None:
    room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=1)
    sent = await room.telegram.send_file(alice.id, song)
    (update,) = room.telegram.updates.pending
    await room.handle()
    assert len(await room.product.jobs(alice.id)) == 1
    assert not [message for message in room.after(sent) if message.buttons]
    room.telegram.updates.add("message", update["message"])
    await room.handle()
    (job,) = await room.product.jobs(alice.id)
    (menu,) = [message for message in room.after(sent) if message.buttons]
    assert job.message_id == menu.message_id


async def test_two_songs_are_two_jobs(room: BotRoom, alice: User, song: Path) -> None:
    await room.sends(alice, song)
    await room.sends(alice, song)
    assert len(await room.product.jobs(alice.id)) == 2


async def test_a_song_of_a_user_who_blocked_the_bot_logs_no_error(
    room: BotRoom, alice: User, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent = await room.telegram.send_file(alice.id, song)
    room.telegram.block_bot(alice.id)
    await room.handle()
    assert room.after(sent) == []
    ours = [record for record in caplog.records if record.name.startswith(("bot", "stemdrop"))]
    assert not [record for record in ours if record.levelname == "ERROR"]


async def test_the_title_of_a_song_is_shortened_and_never_marked_up(
    room: BotRoom, alice: User, song: Path
) -> None:
    content = room.telegram.files.read_path(song)
    media = room.telegram.files.add_media("audio", content, "a.mp3", title="<b>{0} \n" + "é" * 300)
    sent = room.telegram.post(room.telegram.chat(alice.id), alice, {"audio": media.to_dict()})
    await room.handle()
    (menu,) = room.after(sent)
    assert menu.text.startswith("🎵 “<b>{0} éé")
    assert "…" in menu.text
    assert len(menu.text) < 100
    assert "entities" not in menu.content


async def test_sizes_and_sentences_are_in_the_users_language(room: BotRoom, song: Path) -> None:
    mei = room.telegram.add_user("Mei", language_code="zh-hans")
    menu = await room.menu(mei, song)
    (job,) = await room.product.jobs(mei.id)
    assert job.language == "zh_Hans"
    assert "Morning Line" in menu.text
    assert "How do you want" not in menu.text


@pytest.fixture
async def local_room(redis_url: str, tmp_path: Path) -> AsyncIterator[BotRoom]:
    """With a Bot API server of one's own, whose files lie on our disk."""
    telegram = Telegram(tmp_path / "local", local=True)
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, TELEGRAM_LOCAL_MODE="true") as product,
    ):
        application = product.application()
        await application.initialize()
        yield BotRoom(product, application)
        await application.shutdown()


async def test_in_local_mode_a_large_file_is_inspected_in_place(local_room: BotRoom, tmp_path: Path) -> None:
    user = local_room.telegram.add_user("Alice")
    path = silent_wav(tmp_path / "song.wav", rate=200_000, seconds=120)
    assert len(read(path)) > LIMIT_BYTES
    await local_room.menu(user, path)
    (job,) = await local_room.product.jobs(user.id)
    assert (job.source.duration_s, job.source.size_bytes) == (120, len(read(path)))


async def test_in_local_mode_a_file_that_cannot_be_read_is_asked_for_again(
    local_room: BotRoom, tmp_path: Path
) -> None:
    user = local_room.telegram.add_user("Alice")
    sent = await local_room.telegram.send_file(user.id, record(tmp_path / "song.wav", seconds=1))
    assert sent.media
    location = local_room.telegram.file_location(sent.media["file_id"])
    location.unlink()
    location.symlink_to("/proc/self/mem")  # which opens, and fails to be read
    await local_room.handle()
    (answer,) = local_room.after(sent)
    assert answer.text == "Telegram does not give me this file. Please send it again."
    await nothing_was_made(local_room, user)


def silent_wav(path: Path, *, rate: int, seconds: int) -> Path:
    """Write a file with a byte a sample, which needs no encoder."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 1, rate, 0, "NONE", ""))
        file.writeframes(b"\x80" * (rate * seconds))
    return path


def read(path: Path) -> bytes:
    return path.read_bytes()


async def nothing_was_made(room: BotRoom, user: User) -> None:
    assert await room.product.jobs(user.id) == []
    assert await room.product.store.open_jobs() == []


async def test_the_cover_is_stored_with_the_job(room: BotRoom, alice: User, song: Path) -> None:
    content = room.telegram.files.read_path(song)
    cover = room.telegram.files.add_jpeg(jpeg_from_colour(320, 320))
    media = room.telegram.files.add_media("audio", content, "a.mp3", thumbnail=cover)
    room.telegram.post(room.telegram.chat(alice.id), alice, {"audio": media.to_dict()})
    await room.handle()
    (job,) = await room.product.jobs(alice.id)
    assert job.source.thumbnail_file_id == cover["file_id"]
