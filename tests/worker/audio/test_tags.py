"""What stems say of themselves, and that it changes nothing of what is heard."""

import base64
from pathlib import Path

import av
import numpy as np
import pytest
from hearing import heard
from mutagen import File
from mutagen.flac import Picture
from mutagen.id3 import COMM, ID3, TIT2
from sounds import FORMS, record, tone

from sandbox.telegram.media import jpeg_from_colour
from stemdrop.domain.audio_types import AudioFormat
from worker.audio.formats import detect_format
from worker.audio.tags import Tags, write_tags

ROOM = 10**9
COVER = jpeg_from_colour(64, 64)
TAGS = Tags("Blue (Drums)", "Blue", "Drums", "The Band", 3, 12, COVER)
TAKE_TAGS = [form for form in FORMS if form != "aac"]


def tag(path: Path, tags: Tags = TAGS, max_bytes: int = ROOM) -> None:
    form = detect_format(path)
    assert form
    write_tags(path, form, tags, max_bytes)


def said(path: Path) -> dict[str, str]:
    """The tags as FFmpeg reads them, of the file and of its sound."""
    with av.open(str(path)) as container:
        found = {**container.streams.audio[0].metadata, **container.metadata}
    return {key.lower(): value for key, value in found.items()}


def picture(path: Path, form: str) -> bytes:
    tags = File(path)
    if form == "m4a":
        return bytes(tags["covr"][0])
    if form == "flac":
        return tags.pictures[0].data
    if "metadata_block_picture" in tags:
        return Picture(base64.b64decode(tags["metadata_block_picture"][0])).data
    return ID3(path).getall("APIC")[0].data if form == "mp3" else tags.tags.getall("APIC")[0].data


@pytest.mark.parametrize("form", TAKE_TAGS)
def test_all_is_said_and_nothing_else_is_heard(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / f"stem{FORMS[form][0]}", form, tone())
    before = heard(path)
    tag(path)
    found = said(path)
    assert (found["title"], found["album"], found["artist"]) == ("Blue (Drums)", "Blue", "The Band")
    assert found["stem"] == "Drums"
    assert (found["track"], found.get("tracktotal")) in (("3/12", None), ("3", "12"))
    assert picture(path, form) == COVER
    assert np.array_equal(heard(path), before)
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("form", TAKE_TAGS)
def test_written_again_they_replace_the_old_ones(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / f"stem{FORMS[form][0]}", form, tone())
    before = heard(path)
    tag(path)
    tag(path, Tags("Song (Bass)", "Song", "Bass"))
    found = said(path)
    assert (found["title"], found["album"], found["stem"]) == ("Song (Bass)", "Song", "Bass")
    assert "artist" not in found
    with pytest.raises((KeyError, IndexError, AttributeError)):
        picture(path, form)
    assert np.array_equal(heard(path), before)


def test_old_tags_at_both_ends_of_an_mp3_go(tmp_path: Path) -> None:
    path = record(tmp_path / "stem.mp3", "mp3", tone())
    before = heard(path)
    old = ID3()
    old.add(TIT2(encoding=3, text="An advertisement"))
    old.add(COMM(encoding=3, lang="eng", desc="", text="Buy more"))
    old.save(path, v1=2, v2_version=4)
    assert path.read_bytes()[-128:-125] == b"TAG"
    tag(path)
    content = path.read_bytes()
    assert content[:4] == b"ID3\x03"
    assert b"TAG" not in content[-128:]
    assert b"advertisement" not in content
    assert b"Buy more" not in content
    assert np.array_equal(heard(path), before)


@pytest.mark.parametrize("form", TAKE_TAGS)
@pytest.mark.parametrize("title", ["夜曲", "שיר אהבה", "👩‍👩‍👧 🎵", "naïve “quotes” & <b>", "x" * 5000])
def test_titles_in_any_script(tmp_path: Path, form: str, title: str) -> None:
    path = record(tmp_path / f"stem{FORMS[form][0]}", form, tone(seconds=0.1))
    tag(path, Tags(title, title, title, title))
    found = said(path)
    # FFmpeg cuts what an MP4 says at 4096 bytes
    assert [found[key][:1000] for key in ("title", "album", "artist", "stem")] == [title[:1000]] * 4


# what broke an MP3 or a WAV is passed over
@pytest.mark.parametrize("form", [form for form in TAKE_TAGS if form not in ("mp3", "wav")])
def test_a_broken_file_stays_as_it_is(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / "0", form, tone())
    broken = path.read_bytes()[:16] + b"no sound at all" * 10
    path.write_bytes(broken)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever is wrong with the file
        tag(path)
    assert path.read_bytes() == broken
    assert [left.name for left in tmp_path.iterdir()] == ["0"]


def test_what_takes_no_tags_or_no_more_bytes_stays_as_it_is(tmp_path: Path) -> None:
    aac = record(tmp_path / "stem.aac", "aac", tone())
    mp3 = record(tmp_path / "stem.mp3", "mp3", tone())
    for path in (aac, mp3):
        before = path.read_bytes()
        with pytest.raises(ValueError, match=r"nobody writes|more than Telegram"):
            tag(path, max_bytes=len(before) + 100)
        assert path.read_bytes() == before
    assert AudioFormat.AAC is detect_format(aac)
