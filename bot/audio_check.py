"""Listening into a file before anything is paid: is there sound in it, and how much?

Telegram knows the length of audio and voice messages; of documents it knows a name, and of videos not whether
they have sound. Those are fetched and opened here.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import av
import av.error

from bot.sources import check
from stemdrop.chat.telegram_bot import TelegramFiles
from stemdrop.domain.audio_types import SAFE_DEMUXERS
from stemdrop.domain.jobs import Source, SourceKind
from stemdrop.errors import SourceGone, SourceUnusable

# Broken packets are common at the start of cut files; this many in a row are no song.
_MAX_BROKEN_PACKETS = 200


class AudioCheck:
    """Fetches and opens what Telegram cannot vouch for; a few at a time, since each is held on disk."""

    def __init__(self, files: TelegramFiles, max_bytes: int, at_once: int = 4) -> None:
        self._files = files
        self._max_bytes = max_bytes
        self._slots = anyio.CapacityLimiter(at_once)

    async def verify(self, source: Source) -> Source:
        """The source with its length and size known. Raises `SourceUnusable`; passes network trouble on."""
        check(source, self._max_bytes)
        if source.duration_s and source.kind not in (SourceKind.DOCUMENT, SourceKind.VIDEO):
            return source
        try:
            async with self._slots:
                verified = await self._listen(source)
        except SourceGone as error:
            reason = "too_big" if "too big" in str(error).lower() else "gone"
            raise SourceUnusable(
                reason, size_bytes=source.size_bytes or self._max_bytes, limit_bytes=self._max_bytes
            ) from error
        check(verified, self._max_bytes)
        return verified

    async def _listen(self, source: Source) -> Source:
        file = await self._files.find(source.file_id)
        with tempfile.TemporaryDirectory(prefix="stemdrop-") as folder:
            path, size = file.path, file.size_bytes
            if path is None:
                path = Path(folder) / f"source{source.extension}"
                size = await self._files.save(file, path, self._max_bytes)
            if size == 0:
                raise SourceUnusable("empty")
            duration_s = await anyio.to_thread.run_sync(measure, path)
        return replace(source, size_bytes=size, duration_s=source.duration_s or round(duration_s))


def measure(path: Path) -> float:
    """Seconds of sound in a file; 0.0 if it does not say. Raises `SourceUnusable` if there is no sound.

    Decodes one frame and no more: a header is a claim, and a whole song is work for the separator.
    """
    try:
        with av.open(
            str(path), container_options={"format_whitelist": SAFE_DEMUXERS}, metadata_errors="replace"
        ) as container:
            stream = next(iter(container.streams.audio), None)
            if stream is None or not _has_frame(container, stream):
                raise SourceUnusable("not_audio")
            if container.duration:
                return container.duration / av.time_base
            if stream.duration and stream.time_base:
                return float(stream.duration * stream.time_base)
    except (av.error.FFmpegError, ValueError) as error:
        raise SourceUnusable("not_audio") from error
    return 0.0


def _has_frame(container: "av.container.InputContainer", stream: "av.AudioStream") -> bool:
    broken = 0
    for packet in container.demux(stream):
        try:
            if packet.decode():
                return True
        except av.error.InvalidDataError:
            broken += 1
            if broken > _MAX_BROKEN_PACKETS:
                return False
    return False
