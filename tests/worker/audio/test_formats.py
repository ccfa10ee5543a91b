"""Detection of audio formats by content."""

import gzip
import random
from pathlib import Path

import pytest
from sounds import FORMS, RARE_FORMS, record, tone

from stemdrop.domain.audio_types import AudioFormat, extension_of_content
from stemdrop.services.audio_files import inspect
from worker.audio.formats import detect_format

OF = {
    "m4a": AudioFormat.MP4,
    "opus": AudioFormat.OGG,
    "vorbis": AudioFormat.OGG,
    "flac in ogg": AudioFormat.OGG,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_format_is_detected_by_its_content(tmp_path: Path, form: str) -> None:
    found = detect_format(record(tmp_path / "0", form, tone()))
    assert found is OF.get(form, AudioFormat(form) if form in set(AudioFormat) else None)
    extension, *_ = FORMS[form]
    assert extension_of_content(found or "", extension) == extension
    assert extension_of_content(found or "", ".txt") == (".ogg" if extension == ".opus" else extension)


@pytest.mark.parametrize(
    "content", [b"", b"R", b"no sound at all", b"\xff", b"RIFF....AVI ", b"#EXTM3U\n/etc"]
)
def test_a_file_of_unknown_format_keeps_its_extension(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "0"
    path.write_bytes(content)
    assert detect_format(path) is None
    assert extension_of_content("", ".mp3") == ".mp3"


@pytest.mark.parametrize("form", [*FORMS, *RARE_FORMS])
def test_audio_is_found_in_every_format(tmp_path: Path, form: str) -> None:
    assert inspect(record(tmp_path / "0", form, tone()))


@pytest.mark.parametrize("before", [1, 100, 3000])
def test_audio_is_found_after_other_bytes(tmp_path: Path, before: int) -> None:
    path = record(tmp_path / "0", "mp3", tone())
    path.write_bytes(bytes(before) + path.read_bytes())
    assert detect_format(path) is None
    assert inspect(path)


NO_AUDIO = {
    "nothing": b"",
    "HTML": b"<!DOCTYPE html>\n<html><body>This link has expired.</body></html>\n" * 100,
    "JSON": b'{"code": 404, "msg": "not found"}',
    "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "UTF-16": "<html>expired</html>".encode("utf-16"),
    "words": b"no sound at all",
    "packed": gzip.compress(b"<html>expired</html>"),
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(1000),
    "ZIP": b"PK\x03\x04" + bytes(1000),
    "zeros": bytes(100_000),
    "ones": b"\xff" * 100_000,
    "noise": random.Random(1).randbytes(100_000),
}


@pytest.mark.parametrize("content", NO_AUDIO.values(), ids=NO_AUDIO.keys())
def test_other_content_has_no_audio(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "0"
    path.write_bytes(content)
    assert detect_format(path) is None
    assert not inspect(path)


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp3\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile other.mp3\n",
    ],
)
def test_a_playlist_does_not_open_other_files(tmp_path: Path, playlist: str) -> None:
    record(tmp_path / "other.mp3", "mp3", tone())
    path = tmp_path / "0"
    path.write_text(playlist)
    assert not inspect(path)
