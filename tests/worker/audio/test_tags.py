"""Tags of stems in every format, and that writing them does not change the audio."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import av
import pytest
from sounds import FORMS, record, tone

from sandbox.telegram.media import jpeg_from_colour
from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.song_facts import SongFacts
from worker.audio.formats import detect_format
from worker.audio.id3 import build_id3
from worker.audio.tags import Tags, write_tags

NO_LIMIT = 10**9
# Fills several pages of an Ogg file.
COVER = jpeg_from_colour(64, 64) + bytes(150_000)
TAGS = Tags(
    title="夜曲 👩‍👩‍👧 🎵",
    album="שיר אהבה",
    stem="Drums",
    performer="naïve “quotes” & <b>",
    number=3,
    count=12,
    cover=COVER,
)
TAGGED_FORMS = [form for form in FORMS if form not in ("aac", "vorbis")]


def recorded(folder: Path, form: str, seconds: float = 0.5) -> Path:
    return record(folder / f"stem{FORMS[form][0]}", form, tone(seconds=seconds))


def tag(path: Path, tags: Tags = TAGS, max_bytes: int = NO_LIMIT) -> None:
    audio_format = detect_format(path)
    assert audio_format
    write_tags(path, audio_format, tags, max_bytes)


def read_tags(path: Path) -> dict[str, str]:
    """The tags of the file and of its audio stream, as FFmpeg reads them."""
    with av.open(str(path)) as container:
        found = {**container.streams.audio[0].metadata, **container.metadata}
    return {key.lower(): value for key, value in found.items()}


def read_covers(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [
            bytes(packet)
            for stream in container.streams.video
            for packet in container.demux(stream)
            if packet.size
        ]


def read_audio(path: Path) -> tuple[object, ...]:
    """The duration, the codec's set-up, and each packet with its timestamps."""
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.audio[0]
        packets = [
            (packet.pts, packet.dts, packet.duration, bytes(packet))
            for packet in container.demux(stream)
            if packet.size
        ]
        return container.duration, stream.duration, stream.start_time, packets


@pytest.mark.parametrize("form", TAGGED_FORMS)
def test_tags_in_any_script_are_read_back_and_the_audio_is_unchanged(tmp_path: Path, form: str) -> None:
    path = recorded(tmp_path, form)
    before = read_audio(path)
    tag(path)
    found = read_tags(path)
    assert (found["title"], found["album"], found["artist"]) == (TAGS.title, TAGS.album, TAGS.performer)
    assert found["grouping" if form == "m4a" else "stem"] == "Drums"
    assert (found["track"], found.get("tracktotal")) in (("3/12", None), ("3", "12"))
    assert read_covers(path) == [COVER]
    assert read_audio(path) == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("form", TAGGED_FORMS)
def test_new_tags_replace_the_old_ones(tmp_path: Path, form: str) -> None:
    path = recorded(tmp_path, form)
    before = read_audio(path)
    tag(path)
    tag(path, Tags("x" * 5000, "Song", "Bass"))
    found = read_tags(path)
    # FFmpeg reads at most 4096 bytes of a tag of MP4
    stem = found["grouping" if form == "m4a" else "stem"]
    assert (found["title"][:1000], found["album"], stem) == ("x" * 1000, "Song", "Bass")
    assert "artist" not in found
    assert read_covers(path) == []
    assert read_audio(path) == before


def test_old_tags_at_both_ends_of_an_mp3_are_removed(tmp_path: Path) -> None:
    path = recorded(tmp_path, "mp3")
    before = read_audio(path)
    old = build_id3({"TIT2": "An advertisement", "TXXX:comment": "Buy more"}, None)
    path.write_bytes(old + path.read_bytes() + b"TAG" + b"Buy more".ljust(125, b"\0"))
    tag(path)
    content = path.read_bytes()
    assert content[:4] == b"ID3\x03"
    assert "advertisement".encode("utf-16-le") not in content
    assert b"Buy more" not in content
    assert read_audio(path) == before


def test_old_tags_in_another_encoding_are_replaced(tmp_path: Path) -> None:
    path = recorded(tmp_path, "flac")
    tag(path, Tags("old title", "Song", "Bass"))
    path.write_bytes(path.read_bytes().replace(b"old title", b"\xff\xfed title"))
    before = read_audio(path)
    tag(path)
    assert read_tags(path)["title"] == TAGS.title
    assert read_audio(path) == before


def test_the_index_of_an_m4a_stays_before_the_audio(tmp_path: Path) -> None:
    recorded(tmp_path, "m4a").rename(tmp_path / "source")
    path = tmp_path / "stem.m4a"
    with (
        av.open(str(tmp_path / "source")) as source,
        av.open(str(path), "w", format="ipod", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    before = read_audio(path)
    tag(path)
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")
    assert read_audio(path) == before


@pytest.mark.parametrize("form", TAGGED_FORMS)
def test_tempo_and_key_are_tags_if_they_are_known(tmp_path: Path, form: str) -> None:
    tempo, key = ("tbpm", "tkey") if form in ("mp3", "wav", "aiff") else ("bpm", "initialkey")
    path = recorded(tmp_path, form)
    tag(path, replace(TAGS, facts=SongFacts(bpm=103.7, key="C♯ minor", loudness=-11)))
    if form == "m4a":  # FFmpeg writes this box and does not read it, and has no name for a key
        assert b"tmpo\0\0\0\x12data\0\0\0\x15\0\0\0\0\0\x68" in path.read_bytes()
        return
    assert (read_tags(path)[tempo], read_tags(path)[key]) == ("104", "C#m")
    tag(path, replace(TAGS, facts=SongFacts(key="D♭ major")))
    assert tempo not in read_tags(path)
    assert read_tags(path)[key] == "Db"


# an MP3 decoder searches for the next frame
@pytest.mark.parametrize("form", [form for form in TAGGED_FORMS if form != "mp3"])
def test_a_broken_file_is_not_changed(tmp_path: Path, form: str) -> None:
    path = recorded(tmp_path, form)
    broken = path.read_bytes()[:16] + b"no sound at all" * 10
    path.write_bytes(broken)
    with pytest.raises(Exception):  # noqa: B017, PT011 - depends on the format
        tag(path)
    assert path.read_bytes() == broken
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("aac", "have no tags"),
        ("mp3", "exceeds Telegram's limit"),
        ("vorbis", "would not play the same"),  # FFmpeg's muxer changes the end of short ones
    ],
)
def test_a_file_that_cannot_have_tags_is_not_changed(tmp_path: Path, form: str, reason: str) -> None:
    path = recorded(tmp_path, form)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=reason):
        tag(path, max_bytes=len(before) + 100)
    assert path.read_bytes() == before


def test_memory_does_not_grow_with_a_file_that_is_copied(tmp_path: Path) -> None:
    path, size = tmp_path / "stem", 16 * 1024 * 1024
    starts = {
        AudioFormat.MP3: b"",
        AudioFormat.FLAC: b"fLaC\x80\0\0\x22" + bytes(34),
        AudioFormat.WAV: b"RIFF\0\0\0\0WAVEdata" + size.to_bytes(4, "little"),
    }
    for audio_format, start in starts.items():
        path.write_bytes(start)
        with path.open("r+b") as file:
            file.truncate(len(start) + size)
        tracemalloc.start()
        write_tags(path, audio_format, TAGS, NO_LIMIT)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < size / 8, audio_format


def test_a_flac_with_more_metadata_than_audio_needs_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "stem.flac"
    path.write_bytes(b"fLaC" + b"\x02\xff\xff\xff" + bytes(2**24 - 1))
    with pytest.raises(ValueError, match="too long"):
        tag(path)
