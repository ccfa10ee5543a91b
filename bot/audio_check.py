"""Checks a file before anything is paid for: whether it has sound, and how long it is.

Telegram knows the length of audio and voice messages. Of documents it knows only a name, and of videos not
whether they have sound: these are downloaded and opened here.
"""

from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import av
import av.error

from bot.sources import check
from stemdrop.chat.telegram_files import TelegramFiles
from stemdrop.domain.audio_types import SAFE_DEMUXERS
from stemdrop.domain.jobs import Source, SourceKind
from stemdrop.errors import SourceGone, SourceUnavailable, SourceUnusable, TryLater
from stemdrop.services.disk_space import AGAIN_S, BOT_MIN_FREE_BYTES, temp_folder

# Broken packets are common at the start of cut files; this many in a row are no song.
_MAX_BROKEN_PACKETS = 200


class AudioCheck:
    """Checks that a file has sound and is within the limits, and finds out its length and size."""

    def __init__(self, files: TelegramFiles, max_bytes: int) -> None:
        self._files = files
        self._max_bytes = max_bytes

    def needs_download(self, source: Source) -> bool:
        """Whether the file must be downloaded to be checked. Raises `SourceUnusable`."""
        check(source, self._max_bytes)
        return not source.duration_s or source.kind in (SourceKind.DOCUMENT, SourceKind.VIDEO)

    async def inspect(self, source: Source) -> Source:
        """Download and measure the file. Raises `SourceUnusable`, `TryLater`, and the network's errors."""
        try:
            inspected = await self._download(source)
        except (SourceGone, SourceUnavailable) as error:
            reason = "too_big" if "too big" in str(error).lower() else "gone"
            raise SourceUnusable(
                reason, size_bytes=source.size_bytes or self._max_bytes, limit_bytes=self._max_bytes
            ) from error
        check(inspected, self._max_bytes)
        return inspected

    async def _download(self, source: Source) -> Source:
        file = await self._files.find(source.file_id)
        if file.path is not None:
            return await _measured(source, file.path, file.size_bytes)
        with temp_folder(BOT_MIN_FREE_BYTES) as folder:
            path = folder / f"source{source.extension}"
            try:
                size_bytes = await self._files.save(file, path, self._max_bytes)
            except OSError as error:
                raise TryLater(
                    AGAIN_S, f"the song cannot be written to the disk: {error.strerror or error}"
                ) from error
            return await _measured(source, path, size_bytes)


async def _measured(source: Source, path: Path, size_bytes: int) -> Source:
    if size_bytes == 0:
        raise SourceUnusable("empty")
    duration_s = await anyio.to_thread.run_sync(measure, path)
    return replace(source, size_bytes=size_bytes, duration_s=source.duration_s or round(duration_s))


def measure(path: Path) -> float:
    """Return the seconds of sound in a file; 0.0 if unknown. Raises `SourceUnusable` if it has no sound.

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
