"""Writes the tags and the cover that players and file managers show for a stem."""

import base64
import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.song_facts import SongFacts
from worker.audio.flac_tags import build_picture, write_flac
from worker.audio.formats import open_audio
from worker.audio.id3 import build_id3, write_chunk, write_mp3
from worker.cancellable_thread import raise_if_cancelled

if TYPE_CHECKING:
    from av.container import OutputContainer

# Options of FFmpeg's muxers. Players that stream need the index of an MP4 before the audio (`faststart`).
_MUXER_OPTIONS: dict[AudioFormat, dict[str, str]] = {
    AudioFormat.OGG: {},
    AudioFormat.MP4: {"brand": "M4A ", "movflags": "+faststart"},
}
_ID3_WRITERS = {
    AudioFormat.MP3: write_mp3,
    AudioFormat.WAV: write_chunk,
    AudioFormat.AIFF: write_chunk,
}


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a stem, which is track `number` of `count` in its song's album; `cover` is a JPEG."""

    title: str
    album: str
    stem: str
    performer: str = ""
    number: int = 1
    count: int = 1
    cover: bytes | None = None
    facts: SongFacts | None = None


def write_tags(path: Path, audio_format: AudioFormat, tags: Tags, max_bytes: int) -> None:
    """Replace the file's tags. Blocking.

    Raises an exception of any type for a broken file, and `ValueError` for a format without tags or a file
    that would exceed `max_bytes`. The file is then unchanged.
    """
    tagged = path.with_name(f"{path.name}.tagged")
    try:
        if audio_format in _MUXER_OPTIONS:
            _remux(path, tagged, audio_format, tags)
        elif audio_format is AudioFormat.FLAC:
            with path.open("rb") as source, tagged.open("wb") as target:
                write_flac(source, target, _metadata(tags, audio_format), tags.cover)
        elif audio_format in _ID3_WRITERS:
            _copy_with_id3(path, tagged, audio_format, tags)
        else:
            raise ValueError(f"{audio_format} files have no tags")
        if tagged.stat().st_size > max_bytes:
            raise ValueError("with tags the file exceeds Telegram's limit")
        os.replace(tagged, path)
    finally:
        tagged.unlink(missing_ok=True)


def _copy_with_id3(path: Path, tagged: Path, audio_format: AudioFormat, tags: Tags) -> None:
    """Copy the bytes of MP3, WAV or AIFF: FFmpeg would write another Xing header, and no cover in WAV."""
    texts = {
        "TIT2": tags.title,
        "TALB": tags.album,
        "TRCK": f"{tags.number}/{tags.count}",
        "TXXX:STEM": tags.stem,
    }
    facts = tags.facts or SongFacts()
    found = {
        "TPE1": tags.performer,
        "TBPM": str(round(facts.bpm)) if facts.bpm else "",
        "TKEY": facts.short_key,
    }
    id3 = build_id3(texts | {name: text for name, text in found.items() if text}, tags.cover)
    with path.open("rb") as source, tagged.open("wb") as target:
        _ID3_WRITERS[audio_format](source, target, id3)


def _remux(path: Path, tagged: Path, audio_format: AudioFormat, tags: Tags) -> None:
    """Copy the packets into a new container.

    Raises `ValueError` for a file that cannot be copied, and if its copy differs (that of short Vorbis does).
    """
    import av.error  # noqa: PLC0415

    try:
        _copy_packets(path, tagged, audio_format, tags)
        is_same = _fingerprint(path, audio_format) == _fingerprint(tagged, audio_format)
    except av.error.FFmpegError as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not is_same:
        raise ValueError("the tagged copy would not play the same")


def _copy_packets(path: Path, tagged: Path, audio_format: AudioFormat, tags: Tags) -> None:
    import av  # noqa: PLC0415

    is_ogg = audio_format is AudioFormat.OGG
    with (
        open_audio(path, audio_format) as source,
        av.open(str(tagged), "w", format=audio_format.value, options=_MUXER_OPTIONS[audio_format]) as target,
    ):
        stream = target.add_stream_from_template(source.streams.audio[0])
        (stream if is_ogg else target).metadata.update(_metadata(tags, audio_format))
        if tags.cover and not is_ogg:
            _add_cover(target, tags.cover)
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
                raise_if_cancelled()


def _add_cover(target: "OutputContainer", cover: bytes) -> None:
    import av  # noqa: PLC0415
    from av.stream import Disposition  # noqa: PLC0415

    with av.open(io.BytesIO(cover), "r", format="jpeg_pipe") as image:
        stream = target.add_stream_from_template(image.streams.video[0])
        stream.disposition = Disposition.attached_pic
        packet = next(image.demux(image.streams.video[0]))
        packet.stream = stream
        packet.pts = packet.dts = 0
        target.mux(packet)


def _metadata(tags: Tags, audio_format: AudioFormat) -> dict[str, str]:
    found = {"title": tags.title, "album": tags.album}
    if tags.performer:
        found["artist"] = tags.performer
    facts = tags.facts or SongFacts()
    if audio_format is AudioFormat.MP4:  # FFmpeg writes only tags with a name in MP4, which has none for keys
        found |= {"tmpo": str(round(facts.bpm))} if facts.bpm else {}
        return found | {"track": f"{tags.number}/{tags.count}", "grouping": tags.stem}
    if facts.bpm:
        found["BPM"] = str(round(facts.bpm))
    if facts.key:
        found["INITIALKEY"] = facts.short_key
    found |= {"tracknumber": str(tags.number), "tracktotal": str(tags.count), "stem": tags.stem}
    if tags.cover and audio_format is AudioFormat.OGG:
        found["metadata_block_picture"] = base64.b64encode(build_picture(tags.cover)).decode()
    return found


def _fingerprint(path: Path, audio_format: AudioFormat) -> tuple[object, ...]:
    packets = hashlib.sha256()
    with open_audio(path, audio_format) as container:
        stream = container.streams.audio[0]
        for packet in container.demux(stream):
            packets.update(bytes(packet))
            packets.update(f"{packet.pts} {packet.duration}".encode())
            raise_if_cancelled()
        return stream.time_base, stream.start_time, stream.duration, packets.hexdigest()
