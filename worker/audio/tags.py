"""What a stem says of itself in players and on disks: its tags, in the way of each form of audio."""

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mutagen.aiff import AIFF
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, ID3, TALB, TIT2, TPE1, TRCK, TXXX, Encoding, Frame, PictureType
from mutagen.mp4 import MP4, AtomDataType, MP4Cover, MP4FreeForm
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from stemdrop.domain.audio_types import AudioFormat
from worker.stems.temp_folders import pour

_JPEG = "image/jpeg"
_STEM_IN_MP4 = "----:com.apple.iTunes:STEM"


@dataclass(frozen=True, slots=True)
class Tags:
    """`album` is the song, of which the stem is track `number` of `count`; `cover` is a JPEG."""

    title: str
    album: str
    stem: str
    performer: str = ""
    number: int = 1
    count: int = 1
    cover: bytes | None = None


def write_tags(path: Path, form: AudioFormat, tags: Tags, max_bytes: int) -> None:
    """Replace what tags the file has; the sound stays as it is.

    Raises whatever is wrong with the file, which is then as before, as is one that would exceed `max_bytes`.
    Blocking: call it in a thread.
    """
    write = _WRITERS.get(form)
    if write is None:
        raise ValueError(f"nobody writes tags into {form}")
    # a file that breaks halfway would be neither sent nor fetched again
    copy = path.with_name(f"{path.name}.tagged")
    try:
        with path.open("rb") as source, copy.open("wb") as target:
            pour(source, target)
        write(copy, tags)
        if copy.stat().st_size > max_bytes:
            raise ValueError("with tags it is more than Telegram takes")
        os.replace(copy, path)
    finally:
        copy.unlink(missing_ok=True)


def _id3(tags: Tags) -> ID3:
    # version 2.3 with UTF-16 is what every player reads
    code = Encoding.UTF16
    frames: list[Frame] = [
        TIT2(encoding=code, text=tags.title),
        TALB(encoding=code, text=tags.album),
        TRCK(encoding=Encoding.LATIN1, text=f"{tags.number}/{tags.count}"),
        TXXX(encoding=code, desc="STEM", text=tags.stem),
    ]
    if tags.performer:
        frames.append(TPE1(encoding=code, text=tags.performer))
    if tags.cover:
        cover = PictureType.COVER_FRONT
        frames.append(APIC(encoding=Encoding.LATIN1, mime=_JPEG, type=cover, desc="", data=tags.cover))
    id3 = ID3()
    for frame in frames:
        id3.add(frame)
    return id3


def _write_mp3(path: Path, tags: Tags) -> None:
    _id3(tags).save(path, v1=0, v2_version=3)  # v1=0: an old tag at the end goes


def _write_chunk(path: Path, tags: Tags, of: type[WAVE] | type[AIFF]) -> None:
    """WAV and AIFF hold ID3 in a chunk of its own."""
    file: Any = of(path)
    if file.tags is None:
        file.add_tags()
    file.tags.clear()
    for frame in _id3(tags).values():
        file.tags.add(frame)
    file.save(v2_version=3)


def _write_mp4(path: Path, tags: Tags) -> None:
    file: Any = MP4(path)
    if file.tags is None:
        file.add_tags()
    file.tags.clear()
    file.tags["\xa9nam"] = [tags.title]
    file.tags["\xa9alb"] = [tags.album]
    file.tags["trkn"] = [(tags.number, tags.count)]
    file.tags[_STEM_IN_MP4] = [MP4FreeForm(tags.stem.encode(), AtomDataType.UTF8)]
    if tags.performer:
        file.tags["\xa9ART"] = [tags.performer]
    if tags.cover:
        file.tags["covr"] = [MP4Cover(tags.cover, MP4Cover.FORMAT_JPEG)]
    file.save()


def _write_flac(path: Path, tags: Tags) -> None:
    file = FLAC(path)
    if file.tags is None:
        file.add_tags()
    file.clear_pictures()
    if tags.cover:
        file.add_picture(_picture(tags.cover))
    _write_comments(file, tags)
    file.save(deleteid3=True)


def _write_ogg(path: Path, tags: Tags) -> None:
    file = _opened_ogg(path)
    _write_comments(file, tags)
    if tags.cover:
        file["metadata_block_picture"] = [base64.b64encode(_picture(tags.cover).write()).decode()]
    file.save()


def _opened_ogg(path: Path) -> OggOpus | OggVorbis | OggFLAC:
    with path.open("rb") as file:
        start = file.read(128)
    if b"OpusHead" in start:
        return OggOpus(path)
    return OggFLAC(path) if b"FLAC" in start else OggVorbis(path)


def _write_comments(file: Any, tags: Tags) -> None:
    file.clear()
    file["title"] = [tags.title]
    file["album"] = [tags.album]
    file["tracknumber"] = [str(tags.number)]
    file["tracktotal"] = [str(tags.count)]
    file["stem"] = [tags.stem]
    if tags.performer:
        file["artist"] = [tags.performer]


def _picture(cover: bytes) -> Picture:
    picture = Picture()
    picture.type, picture.mime, picture.data = PictureType.COVER_FRONT, _JPEG, cover
    return picture


_WRITERS: dict[AudioFormat, Callable[[Path, Tags], None]] = {
    AudioFormat.MP3: _write_mp3,
    AudioFormat.MP4: _write_mp4,
    AudioFormat.FLAC: _write_flac,
    AudioFormat.OGG: _write_ogg,
    AudioFormat.WAV: partial(_write_chunk, of=WAVE),
    AudioFormat.AIFF: partial(_write_chunk, of=AIFF),
}
