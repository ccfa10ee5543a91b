"""Which messages are songs, by every type and name that people send."""

from typing import Any

import pytest
from telegram import Message

from bot.sources import MAX_DURATION_S, check_duration, check_size, source_of
from stemdrop.domain.audio_types import EXTENSIONS
from stemdrop.domain.jobs import Source, SourceKind
from stemdrop.errors import SourceUnusable

_SIZES = {"video": {"width": 64, "height": 48}, "video_note": {"length": 240}}
LIMIT_BYTES = 20 * 1024 * 1024


def message(kind: str, **fields: Any) -> Message:
    """A message with one file of this kind, as Telegram sends it."""
    media: dict[str, Any] = {"file_id": "id", "file_unique_id": "unique", "file_size": 1000}
    if kind != "document":
        media["duration"] = 100
    chat = {"id": 1, "type": "private"}
    body = {"message_id": 1, "date": 1, "chat": chat, kind: {**media, **_SIZES.get(kind, {}), **fields}}
    found = Message.de_json(body, None)
    assert found is not None
    return found


def document(name: str | None = None, mime_type: str | None = None) -> Message:
    fields = {"file_name": name, "mime_type": mime_type}
    return message("document", **{key: value for key, value in fields.items() if value is not None})


def source(**fields: Any) -> Source:
    return Source(
        **{"kind": SourceKind.AUDIO, "file_id": "a", "file_unique_id": "b", "extension": ".mp3"} | fields
    )


@pytest.mark.parametrize("extension", sorted(EXTENSIONS))
def test_a_document_with_an_audio_extension_is_a_song(extension: str) -> None:
    for spelled in (extension.lower(), extension.upper()):
        found = source_of(document(f"My song{spelled}", "application/octet-stream"))
        assert found
        assert (found.kind, found.extension, found.title) == (SourceKind.DOCUMENT, extension, "My song")


@pytest.mark.parametrize(
    ("mime_type", "extension"),
    [
        ("audio/mpeg", ".mp3"),
        ("audio/mp3", ".mp3"),
        ("audio/mp4", ".m4a"),
        ("audio/x-m4a", ".m4a"),
        ("audio/aac", ".aac"),
        ("audio/wav", ".wav"),
        ("audio/x-wav", ".wav"),
        ("audio/vnd.wave", ".wav"),
        ("audio/flac", ".flac"),
        ("audio/x-flac", ".flac"),
        ("AUDIO/FLAC", ".flac"),
        ("audio/ogg", ".ogg"),
        ("application/ogg", ".ogg"),
        ("audio/opus", ".opus"),
        ("audio/aiff", ".aiff"),
        ("audio/x-ms-wma", ".wma"),
        ("video/mp4", ".mp4"),
        ("video/quicktime", ".mov"),
        ("video/webm", ".webm"),
        ("video/x-matroska", ".mkv"),
        ("audio/ogg; codecs=opus", ".ogg"),
        ("audio/amr", ".amr"),
        ("audio/3gpp", ".3gp"),
        ("audio/x-mp3", ".mp3"),
        ("audio/x-unheard-of", ".bin"),
    ],
)
def test_the_mime_type_decides_when_the_name_does_not(mime_type: str, extension: str) -> None:
    for name in (None, "", "song", "song.of.1999"):
        found = source_of(document(name, mime_type))
        assert found, name
        assert found.extension == extension, name


@pytest.mark.parametrize(
    ("name", "mime_type"),
    [
        ("report.pdf", "application/pdf"),
        ("notes.txt", "text/plain"),
        ("photo.jpg", "image/jpeg"),
        ("archive.zip", "application/zip"),
        ("list.m3u8", "application/vnd.apple.mpegurl"),
    ],
)
def test_any_other_document_is_not_a_song(name: str | None, mime_type: str | None) -> None:
    assert source_of(document(name, mime_type)) is None


@pytest.mark.parametrize("mime_type", ["application/octet-stream", "binary/octet-stream", None, ""])
def test_a_document_without_a_known_type_is_left_to_its_content(mime_type: str | None) -> None:
    for name in ("song", "mp3", "song.xyz", "song.mp3.exe", None, ""):
        found = source_of(document(name, mime_type))
        assert found, name
        assert found.extension == ".bin", name


@pytest.mark.parametrize(
    ("kind", "extension"), [("audio", ".mp3"), ("voice", ".ogg"), ("video", ".mp4"), ("video_note", ".mp4")]
)
def test_every_kind_has_an_extension_without_a_name(kind: str, extension: str) -> None:
    found = source_of(message(kind))
    assert found
    assert (found.kind, found.extension) == (SourceKind(kind), extension)
    assert (found.duration_s, found.size_bytes) == (100, 1000)
    assert (found.file_id, found.file_unique_id) == ("id", "unique")


def test_an_animation_is_not_a_song() -> None:
    chat = {"id": 1, "type": "private"}
    file = {"file_id": "id", "file_unique_id": "unique", "file_name": "cat.mp4", "mime_type": "video/mp4"}
    moving = {**file, "width": 1, "height": 1, "duration": 1}
    body = {"message_id": 1, "date": 1, "chat": chat, "animation": moving, "document": file}
    found = Message.de_json(body, None)
    assert found
    assert source_of(found) is None


def test_a_text_is_not_a_song() -> None:
    found = Message.de_json(
        {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}, "text": "la"}, None
    )
    assert found
    assert source_of(found) is None


@pytest.mark.parametrize(
    ("fields", "title", "performer"),
    [
        ({"title": " Morning Line ", "performer": " The Band "}, "Morning Line", "The Band"),
        ({"title": "Tag", "file_name": "name.mp3"}, "Tag", ""),
        ({"title": "  ", "file_name": "01_my_song.mp3"}, "01 my song", ""),
        ({"file_name": "C:\\music\\song.flac"}, "song", ""),
        ({"file_name": "/etc/song.mp3"}, "song", ""),
        ({"file_name": "live 12.5.1999"}, "live 12.5.1999", ""),
        ({"file_name": "vol. 2.mp3"}, "vol. 2", ""),
        ({"file_name": "Vol. 2"}, "Vol. 2", ""),
        ({"file_name": "Mr. Brightside"}, "Mr. Brightside", ""),
        ({"file_name": "Dr.Dre"}, "Dr.Dre", ""),
        ({"file_name": "ringtone.m4r"}, "ringtone", ""),
        ({"file_name": "take.AIFC"}, "take", ""),
        ({"file_name": "song.mp3 (1)"}, "song", ""),
        ({"file_name": "song.mp3(2)"}, "song", ""),
        ({"file_name": "song.flac.mp3"}, "song", ""),
        ({"file_name": "song.mp3.bin"}, "song", ""),
        ({"file_name": "song.mp3. "}, "song", ""),
        ({"file_name": "שיר\u200f.mp3\u200f"}, "שיר", ""),
        ({"file_name": ".mp3"}, "", ""),
        ({"file_name": "夜曲🎵.mp3"}, "夜曲🎵", ""),
        ({}, "", ""),
    ],
)
def test_the_title_is_the_tag_or_the_file_name(fields: dict[str, str], title: str, performer: str) -> None:
    found = source_of(message("audio", **fields))
    assert found
    assert (found.title, found.performer) == (title, performer)


def test_only_audio_keeps_its_cover() -> None:
    thumbnail = {"file_id": "cover", "file_unique_id": "c", "width": 320, "height": 320}
    audio = source_of(message("audio", thumbnail=thumbnail))
    video = source_of(message("video", thumbnail=thumbnail))
    assert audio
    assert audio.thumbnail_file_id == "cover"
    assert video
    assert video.thumbnail_file_id == ""


def test_a_file_at_the_limits_is_taken() -> None:
    check_size(source(size_bytes=LIMIT_BYTES), LIMIT_BYTES)
    check_duration(source(duration_s=MAX_DURATION_S))
    check_size(source(), LIMIT_BYTES)


def test_a_file_one_byte_too_big_is_refused_with_both_sizes() -> None:
    with pytest.raises(SourceUnusable) as refused:
        check_size(source(size_bytes=LIMIT_BYTES + 1), LIMIT_BYTES)
    assert refused.value.reason == "too_big"
    assert refused.value.values == {"size_bytes": LIMIT_BYTES + 1, "limit_bytes": LIMIT_BYTES}


def test_a_song_one_second_too_long_is_refused() -> None:
    with pytest.raises(SourceUnusable) as refused:
        check_duration(source(duration_s=MAX_DURATION_S + 1))
    assert refused.value.reason == "too_long"
