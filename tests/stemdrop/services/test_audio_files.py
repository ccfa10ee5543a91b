"""What audio files hold and how long they are: real files of every form, and what only looks like one."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sounds
from recordings import record
from remuxing import remux
from sounds import tone

from separator.audio.reader import Reader
from separator.audio.samples import SAMPLE_RATE
from stemdrop.domain.audio_types import extension_of_content
from stemdrop.services.audio_files import inspect


def measure(path: Path) -> float:
    content = inspect(path)
    assert content
    return content.duration_s


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


def test_a_folder_has_no_audio(tmp_path: Path) -> None:
    assert inspect(tmp_path) is None


# Files whose headers, or estimates by their bit rate, tell another length than their sound has. The bot takes
# the songs with that length, and the separator's stems, which are measured likewise, have it, too.


def fades_in(folder: Path) -> tuple[Path, float]:
    """Raw AAC has no length: an estimate from the first, nearly empty frames is many times too long."""
    sound = tone(-6, seconds=5)
    sound *= np.linspace(-1, 1, len(sound), dtype=np.float32).clip(0) ** 4
    return sounds.record(folder / "fadein.aac", "aac", sound), 5


def has_a_page_behind_it(folder: Path) -> tuple[Path, float]:
    path = sounds.record(folder / "trailing_html.mp3", "mp3", tone(seconds=2))
    path.write_bytes(path.read_bytes() + b"<p>some text of a page</p>\n" * 12_000)
    return path, 2


def is_recorded_by_a_browser(folder: Path) -> tuple[Path, float]:
    sound = sounds.record(folder / "a", "opus", tone(seconds=2))
    return remux(folder / "live.webm", "webm", sound, options={"live": "1"}), 2


def is_chained(folder: Path, form: str = "opus") -> tuple[Path, float]:
    path = folder / "chained.ogg"
    path.write_bytes(b"".join(chain_links(folder, form, (1, 2))))
    return path, 3


@pytest.mark.parametrize(
    "make",
    [
        *(fades_in, has_a_page_behind_it, is_recorded_by_a_browser, is_chained),
        *(partial(is_chained, form=form) for form in ("vorbis", "flac in ogg")),
    ],
)
def test_only_the_sound_of_a_file_counts(tmp_path: Path, make: Callable[[Path], tuple[Path, float]]) -> None:
    path, seconds = make(tmp_path)
    assert measure(path) == pytest.approx(seconds, abs=0.1)
    with Reader(path, max_duration_s=60) as reader:
        heard = sum(block.shape[1] for block in reader.blocks())
    assert heard / SAMPLE_RATE == pytest.approx(seconds, abs=0.1)


def chain_links(folder: Path, form: str, lengths: tuple[float, ...]) -> list[bytes]:
    return [sounds.record(folder / "link", form, tone(seconds=length)).read_bytes() for length in lengths]


def test_a_wrong_length_in_the_header_is_ignored(tmp_path: Path) -> None:
    path = sounds.record(tmp_path / "a", "flac", tone(seconds=1))
    content = bytearray(path.read_bytes())
    content[22:26] = b"\xff\xff\xff\xff"  # the number of samples in STREAMINFO
    path.write_bytes(content)
    assert measure(path) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("form", ["mp3", "flac", "wav"])
def test_the_length_of_a_stem_is_read_from_its_ends(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sounds.record(tmp_path / "a", form, tone(seconds=3))
    by_ends = measure(path)
    monkeypatch.setattr("stemdrop.services.audio_files._ONE_TIMELINE", frozenset())
    assert by_ends == measure(path)


@pytest.mark.parametrize("form", ["mp3", "flac", "wav"])
def test_a_file_that_is_cut_off_is_as_long_as_what_is_left(tmp_path: Path, form: str) -> None:
    path = sounds.record(tmp_path / "a", form, tone(seconds=3))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert measure(path) == pytest.approx(1.5, abs=0.3)


def test_the_silence_before_the_start_of_an_edit_list_counts(tmp_path: Path) -> None:
    sound = sounds.record(tmp_path / "a", "m4a", tone(seconds=1))
    assert measure(remux(tmp_path / "late.m4a", "ipod", sound, start_s=2)) == pytest.approx(3, abs=0.1)


def test_the_first_track_that_decodes_is_used(tmp_path: Path) -> None:
    parts = [sounds.record(tmp_path / f"{length}", "aac", tone(seconds=length)) for length in (1, 2)]
    assert measure(remux(tmp_path / "two.mka", "matroska", *parts)) == pytest.approx(1, abs=0.1)
    empty_first = remux(tmp_path / "empty.mka", "matroska", *parts, empty_tracks=1)
    assert measure(empty_first) == pytest.approx(2, abs=0.1)


def test_only_the_first_tracks_are_tried(tmp_path: Path) -> None:
    part = sounds.record(tmp_path / "1", "aac", tone(seconds=1))
    unusable(remux(tmp_path / "many.mka", "matroska", *[part] * 21, empty_tracks=20))


@pytest.mark.parametrize(
    ("form", "extension"),
    [
        ("song.mp3", ".mp3"),
        ("song.m4a", ".m4a"),
        ("song.flac", ".flac"),
        ("song.opus", ".ogg"),
        ("clip.mp4", ".mp4"),
        ("clip.mkv", ".mkv"),
    ],
)
def test_a_file_without_a_type_gets_the_extension_of_its_content(
    tmp_path: Path, form: str, extension: str
) -> None:
    path = record(tmp_path / form, picture=form.startswith("clip")).rename(tmp_path / "song")
    content = inspect(path)
    assert content
    assert extension_of_content(content.demuxers, ".bin", has_picture=content.has_picture) == extension


def test_a_file_of_more_packets_than_a_song_has_is_not_read_to_its_end(tmp_path: Path) -> None:
    clip = record(tmp_path / "clip.mp4", seconds=3, picture=True)
    content = inspect(clip, max_packets=50)
    assert content
    assert content.has_picture
    assert 0 < content.duration_s < 2


def test_a_cover_is_no_picture(song: Path) -> None:
    content = inspect(song)
    assert content
    assert not content.has_picture


def unusable(path: Path) -> None:
    assert inspect(path) is None
