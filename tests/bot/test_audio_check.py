"""Is there sound in a file, and how much: real files of every form, and what only looks like one."""

from pathlib import Path

import pytest
from recordings import record

from bot.audio_check import measure
from stemdrop.errors import SourceUnusable


@pytest.mark.parametrize("extension", [".mp3", ".m4a", ".wav", ".flac", ".ogg", ".opus", ".webm", ".mkv"])
def test_every_audio_format_is_measured(tmp_path: Path, extension: str) -> None:
    assert measure(record(tmp_path / f"song{extension}", seconds=2)) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("extension", [".mp4", ".mkv"])
def test_a_video_with_sound_is_measured(tmp_path: Path, extension: str) -> None:
    assert measure(record(tmp_path / f"clip{extension}", seconds=2, picture=True)) == pytest.approx(
        2, abs=0.15
    )


def test_the_format_is_detected_by_content_and_not_by_name(tmp_path: Path) -> None:
    path = record(tmp_path / "song.flac").rename(tmp_path / "song.mp3")
    assert measure(path) == pytest.approx(1, abs=0.15)


def test_the_bundled_song_with_its_cover_is_measured(song: Path) -> None:
    assert measure(song) == pytest.approx(30, abs=0.2)


def test_sound_after_a_broken_start_is_found(tmp_path: Path) -> None:
    path = record(tmp_path / "song.mp3", seconds=3)
    path.write_bytes(bytes(3000) + path.read_bytes()[3000:])
    assert measure(path) > 1


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    unusable(record(tmp_path / "clip.mp4", sound=False, picture=True))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"just some text\n" * 500,
        b"<html><body>not found</body></html>",
        b"ID3\x04\x00\x00\x00\x00\x00\x00",
        bytes(100_000),
        b"RIFF\xff\xff\xff\xffWAVEfmt ",
        b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(2000),
        b"fLaC" + bytes(5000),
        b"OggS" + bytes(5000),
    ],
    ids=["empty", "text", "html", "tag", "zeros", "riff", "jpeg", "flac", "ogg"],
)
@pytest.mark.parametrize("name", ["song.mp3", "song.wav", "song.ogg"])
def test_a_file_that_only_has_the_name_of_a_song_is_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    unusable(path)


@pytest.mark.parametrize("name", ["song.mp3", "song.m3u8", "song.ffconcat", "song.wav"])
def test_a_playlist_opens_no_other_file(tmp_path: Path, name: str) -> None:
    """Else a user could have files of this machine, or addresses behind it, taken apart and sent."""
    secret = record(tmp_path / "secret.mp3")
    playlists = [
        f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{secret}'\n",
        f"<?xml version='1.0'?><MPD><BaseURL>file://{secret}</BaseURL></MPD>",
    ]
    for playlist in playlists:
        path = tmp_path / name
        path.write_text(playlist)
        unusable(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises((SourceUnusable, OSError)):
        measure(tmp_path)


def unusable(path: Path) -> None:
    with pytest.raises(SourceUnusable) as refused:
        measure(path)
    assert refused.value.reason == "not_audio"
