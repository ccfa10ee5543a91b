"""Checks a file before anything is paid for: whether it has sound, what kind it is, and how long it is.

The sender claims the length of an audio or voice message. A claim within the limit is believed, unless the
file is too big for it, but a song is refused as too long only after it was measured. Telegram knows neither
the length of a document nor whether a video has sound.
"""

from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread

from bot.sources import MAX_DURATION_S, check_duration, check_size
from stemdrop.chat.shared_disk import reading_shared_disk
from stemdrop.chat.telegram_files import TelegramFiles
from stemdrop.domain.audio_types import UNKNOWN_EXTENSION, extension_of_content
from stemdrop.domain.jobs import Source, SourceKind
from stemdrop.errors import SourceGone, SourceTooBig, SourceUnavailable, SourceUnusable
from stemdrop.services.audio_inspection import inspect_audio
from stemdrop.services.disk_space import BOT_MIN_FREE_BYTES, temp_folder, writing

# A song has fewer bytes a second, unless it is of a higher quality than CDs, so that its length is measured.
_MOST_BYTES_A_SECOND = 400_000


class AudioCheck:
    """Checks that a file has sound and is within the limits, and finds out its length and size."""

    def __init__(self, files: TelegramFiles, max_bytes: int) -> None:
        self._files = files
        self._max_bytes = max_bytes

    def needs_download(self, source: Source) -> bool:
        """Return whether the check needs the file itself. Raises `SourceUnusable` if the file is too big."""
        check_size(source, self._max_bytes)
        # the price may depend on the length
        least_s = max(1, source.size_bytes / _MOST_BYTES_A_SECOND)
        is_claim_enough = least_s <= source.duration_s <= MAX_DURATION_S
        is_kind_known = source.extension != UNKNOWN_EXTENSION
        is_claimed = source.kind not in (SourceKind.DOCUMENT, SourceKind.VIDEO)
        return not (is_claim_enough and is_kind_known and is_claimed)

    async def inspect(self, source: Source) -> Source:
        """Download the file and return its source with the size, length and type that were measured.

        Raises `SourceUnusable`, `TryLater`, `TelegramError` and `httpx.HTTPError`.
        """
        try:
            inspected = await self._download(source)
        except (SourceGone, SourceUnavailable) as error:
            reason = "too_big" if isinstance(error, SourceTooBig) else "gone"
            raise SourceUnusable(
                reason, size_bytes=source.size_bytes or self._max_bytes, limit_bytes=self._max_bytes
            ) from error
        check_size(inspected, self._max_bytes)
        check_duration(inspected)
        return inspected

    async def _download(self, source: Source) -> Source:
        file = await self._files.find(source.file_id)
        if file.path is not None:
            with reading_shared_disk():
                return await _inspected(source, file.path, file.size_bytes)
        with temp_folder(BOT_MIN_FREE_BYTES) as folder:
            path = folder / f"source{source.extension}"
            with writing("songs"):
                size_bytes = await self._files.save(file, path, self._max_bytes)
            return await _inspected(source, path, size_bytes)


async def _inspected(source: Source, path: Path, size_bytes: int) -> Source:
    if size_bytes == 0:
        raise SourceUnusable("empty")
    content = await anyio.to_thread.run_sync(inspect_audio, path)
    if content is None:
        raise SourceUnusable("not_audio")
    return replace(
        source,
        size_bytes=size_bytes,
        duration_s=max(1, round(content.duration_s)),
        extension=extension_of_content(content.demuxers, source.extension, has_picture=content.has_picture),
    )
