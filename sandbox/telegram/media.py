"""Detection of a file's format by its first bytes and by decoding, never by its name alone.

Telegram's servers do the same: an MP3 or M4A that decodes is music, a broken one is a document.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

THUMBNAIL_LIMIT_BYTES = 200_000
THUMBNAIL_LIMIT_PIXELS = 320

# File name extension → MIME type as Telegram's clients report it; Python's own table differs between
# machines.
MIME_TYPES = {
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".flac": "audio/flac",
    ".wav": "audio/x-wav",
    ".aif": "audio/x-aiff",
    ".aiff": "audio/x-aiff",
    ".wma": "audio/x-ms-wma",
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".txt": "text/plain",
    ".pdf": "application/pdf",
    ".zip": "application/zip",
}


@dataclass(frozen=True)
class Probe:
    """The result of decoding. `form` is mp3, m4a, ogg (Opus), mp4 (with video), jpeg or other."""

    form: str = "other"
    duration_s: int = 0
    title: str | None = None
    performer: str | None = None
    width: int = 0
    height: int = 0
    cover: bytes | None = None  # JPEG, scaled to a thumbnail

    @property
    def is_music(self) -> bool:
        return self.form in ("mp3", "m4a")


def mime_type(file_name: str) -> str:
    return MIME_TYPES.get(Path(file_name).suffix.lower(), "application/octet-stream")


def probe(path: Path) -> Probe:
    """Probe a file; one that does not decode is `other`. Blocking: call it in a thread."""
    with path.open("rb") as file:
        start = file.read(16)
    if jpeg := jpeg_size(path):
        return Probe("jpeg", width=jpeg[0], height=jpeg[1])
    expected = _by_first_bytes(start)
    # Other containers (wav, flac, …) are opened for their duration; FFmpeg detects the format by content.
    try:
        with av.open(str(path), format=expected) as container:
            return _describe(container, expected)
    except (av.error.FFmpegError, ValueError):
        return Probe()


def jpeg_size(source: Path | bytes) -> tuple[int, int] | None:
    """Return (width, height) from a JPEG's frame header, or None when it is not a JPEG."""
    data = source if isinstance(source, bytes) else _first_bytes(source, 512 * 1024)
    if data[:3] != b"\xff\xd8\xff":
        return None
    position = 2
    while position + 9 < len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        if marker in range(0xC0, 0xD0) and marker not in (0xC4, 0xC8, 0xCC):
            height = int.from_bytes(data[position + 5 : position + 7])
            return int.from_bytes(data[position + 7 : position + 9]), height
        position += 2 + length
    return None


def jpeg_from_colour(width: int, height: int) -> bytes:
    frame = av.VideoFrame(width, height, "yuvj420p")
    for plane, level in zip(frame.planes, (160, 110, 150), strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    return to_jpeg(frame)


def _by_first_bytes(start: bytes) -> str | None:
    if start[:3] == b"ID3" or (start[:1] == b"\xff" and len(start) > 1 and start[1] & 0xE6 == 0xE2):
        return "mp3"  # a tag, or a frame header of layer III
    if start[4:8] == b"ftyp":
        return "mp4"
    if start[:4] == b"OggS":
        return "ogg"
    return None


def _describe(container: InputContainer, expected: str | None) -> Probe:
    pictures = [stream for stream in container.streams.video if _is_cover(stream)]
    videos = [stream for stream in container.streams.video if not _is_cover(stream)]
    sounds = container.streams.audio
    tags = {key.lower(): value for key, value in container.metadata.items()}
    duration_s = round((container.duration or 0) / av.time_base)
    cover = _cover(container, pictures[0]) if pictures else None
    form = "other"
    if expected == "mp3" and sounds and _decodes(container):
        form = "mp3"
    elif expected == "mp4" and videos:
        form = "mp4"
    elif expected == "mp4" and sounds and _decodes(container):
        form = "m4a"
    elif expected == "ogg" and sounds and sounds[0].codec_context.name in ("opus", "libopus"):
        form = "ogg"
    elif expected is not None and form == "other" and not sounds:
        return Probe()
    return Probe(
        form,
        duration_s,
        tags.get("title"),
        tags.get("artist"),
        videos[0].width if videos else 0,
        videos[0].height if videos else 0,
        cover,
    )


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _decodes(container: InputContainer) -> bool:
    """Return whether at least one audio frame decodes; in a text named .mp3 none does."""
    try:
        container.seek(0)
        return next(iter(container.decode(audio=0)), None) is not None
    except av.error.FFmpegError:
        return False


def _cover(container: InputContainer, stream: VideoStream) -> bytes | None:
    try:
        for frame in container.decode(stream):
            scale = min(1.0, THUMBNAIL_LIMIT_PIXELS / max(frame.width, frame.height))
            width, height = (max(2, int(side * scale) // 2 * 2) for side in (frame.width, frame.height))
            return to_jpeg(frame.reformat(width, height, "yuvj420p"))
    except av.error.FFmpegError:
        pass  # a broken cover counts as none
    return None


def to_jpeg(frame: av.VideoFrame) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)  # noqa: S101 - for the type checker
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base = Fraction(1, 1)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def _first_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)
