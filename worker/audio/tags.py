"""Writes the tags that players and file managers show for a stem.

All audio bytes are copied as they are. FFmpeg's muxers are not used: they make a new Xing header for an MP3,
change the end of short Vorbis files, and have no cover for WAV and no custom tags for MP4.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from stemdrop.domain.audio_types import AudioFormat
from worker.audio import mp4_tags
from worker.audio.id3 import build_id3, write_chunk, write_mp3
from worker.audio.vorbis_comments import write_flac, write_ogg


@dataclass(frozen=True, slots=True)
class Tags:
    """The stem is track `number` of `count` in the album of its song; `cover` is a JPEG."""

    title: str
    album: str
    stem: str
    performer: str = ""
    number: int = 1
    count: int = 1
    cover: bytes | None = None


def write_tags(path: Path, audio_format: AudioFormat, tags: Tags, max_bytes: int) -> None:
    """Replace the file's tags. Blocking.

    Raises an exception of any type for a broken file, and `ValueError` for a format without tags or a file
    that would exceed `max_bytes`. The file is then unchanged.
    """
    tagged = path.with_name(f"{path.name}.tagged")
    try:
        with path.open("rb") as source, tagged.open("wb") as target:
            _write(source, target, audio_format, tags)
        if tagged.stat().st_size > max_bytes:
            raise ValueError("with tags the file exceeds Telegram's limit")
        os.replace(tagged, path)
    finally:
        tagged.unlink(missing_ok=True)


def _write(source: IO[bytes], target: IO[bytes], audio_format: AudioFormat, tags: Tags) -> None:
    match audio_format:
        case AudioFormat.MP3:
            write_mp3(source, target, _id3(tags))
        case AudioFormat.WAV | AudioFormat.AIFF:
            write_chunk(source, target, _id3(tags))
        case AudioFormat.FLAC:
            write_flac(source, target, _comments(tags), tags.cover)
        case AudioFormat.OGG:
            write_ogg(source, target, _comments(tags), tags.cover)
        case AudioFormat.MP4:
            mp4_tags.write_mp4(source, target, _mp4_items(tags))
        case _:
            raise ValueError(f"{audio_format} files have no tags")


def _id3(tags: Tags) -> bytes:
    texts = {
        "TIT2": tags.title,
        "TALB": tags.album,
        "TRCK": f"{tags.number}/{tags.count}",
        "TXXX:STEM": tags.stem,
    }
    return build_id3(texts | ({"TPE1": tags.performer} if tags.performer else {}), tags.cover)


def _comments(tags: Tags) -> dict[str, str]:
    comments = {
        "TITLE": tags.title,
        "ALBUM": tags.album,
        "TRACKNUMBER": str(tags.number),
        "TRACKTOTAL": str(tags.count),
        "STEM": tags.stem,
    }
    return comments | ({"ARTIST": tags.performer} if tags.performer else {})


def _mp4_items(tags: Tags) -> list[tuple[bytes, bytes]]:
    items = [
        mp4_tags.text_item(b"\xa9nam", tags.title),
        mp4_tags.text_item(b"\xa9alb", tags.album),
        mp4_tags.track_item(tags.number, tags.count),
        mp4_tags.custom_item("STEM", tags.stem),
    ]
    if tags.performer:
        items.append(mp4_tags.text_item(b"\xa9ART", tags.performer))
    if tags.cover:
        items.append(mp4_tags.cover_item(tags.cover))
    return items
