"""The kind of a file by its content, its MIME type and its name."""

import pytest

from stemdrop.domain.audio_types import extension_of, extension_of_content, may_be_audio

MP4, MATROSKA = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"


@pytest.mark.parametrize(
    ("demuxers", "current", "has_picture", "extension"),
    [
        (MP4, ".m4r", False, ".m4r"),
        (MP4, ".mp4", False, ".m4a"),
        (MP4, ".mp4", True, ".mp4"),
        (MP4, ".mp3", False, ".m4a"),
        (MP4, ".mp3", True, ".mp4"),
        (MATROSKA, ".webm", False, ".webm"),
        (MATROSKA, ".bin", True, ".mkv"),
        ("ogg", ".opus", False, ".opus"),
        ("ogg", ".mp3", False, ".ogg"),
        ("asf", ".bin", True, ".wmv"),
        ("aiff", ".aifc", False, ".aifc"),
        ("w64", ".bin", False, ".w64"),
        ("dts", ".wav", False, ".dts"),
        ("mp3", ".wav", False, ".mp3"),
        ("unheard-of", ".mp3", False, ".mp3"),
        ("avi", ".avi", False, ".avi"),
    ],
)
def test_the_content_decides_first(demuxers: str, current: str, has_picture: bool, extension: str) -> None:
    assert extension_of_content(demuxers, current, has_picture=has_picture) == extension


@pytest.mark.parametrize(
    ("mime_type", "name", "extension"),
    [
        ("audio/ogg; codecs=opus", "voice", ".ogg"),
        ("audio/ogg; codecs=opus", "voice.opus", ".opus"),
        ("audio/mpeg", "song.m4a", ".mp3"),
        ("Audio/X-M4A", "", ".m4a"),
        ("audio/3gpp", "note.bin", ".3gp"),
        ("application/octet-stream", "RING.M4R", ".m4r"),
        ("application/octet-stream", "song.mp3 (1)", ".mp3"),
        ("", "clip.WMV", ".wmv"),
        ("audio/unheard-of", "song", ""),
        ("", "song.xyz", ""),
    ],
)
def test_the_type_decides_before_the_name(mime_type: str, name: str, extension: str) -> None:
    assert extension_of(mime_type, name) == extension


@pytest.mark.parametrize(
    ("mime_type", "name", "expected"),
    [
        ("application/octet-stream", "song", True),
        ("", "", True),
        ("audio/unheard-of", "song", True),
        ("text/plain", "song.mp3", True),
        ("application/pdf", "report.pdf", False),
        ("image/jpeg", "", False),
    ],
)
def test_only_files_of_another_known_type_cannot_be_audio(mime_type: str, name: str, expected: bool) -> None:
    assert may_be_audio(mime_type, name) is expected
