"""Stems that are in a chat already, onto the disk once more: from Telegram, else from the provider."""

import asyncio
import logging
from pathlib import Path

from stemdrop.chat.telegram_bot import TelegramFiles
from stemdrop.chat.translations import Language
from stemdrop.domain.audio_types import extension_of_format
from stemdrop.domain.jobs import Job
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.results import Stem
from stemdrop.domain.titles import file_name, title
from stemdrop.errors import SourceGone, TryLater
from stemdrop.provider.client import SeparationClient
from worker.audio.formats import detect_format
from worker.stems.album_sender import StemFile
from worker.stems.download import JobStems
from worker.stems.fetcher import StemFetcher

log = logging.getLogger(__name__)


class StemCopies:
    """Handed what it needs; one object serves all jobs of a process."""

    def __init__(self, files: TelegramFiles, fetcher: StemFetcher, separation: SeparationClient) -> None:
        self._files = files
        self._fetcher = fetcher
        self._separation = separation

    async def fetch(self, job: Job, stem: Stem, sent: Sent, folder: Path, say: Language) -> StemFile | None:
        """The stem as a file in `folder`, which the next one may overwrite; `None`: nobody keeps it any more.

        Raises `TelegramError`, `httpx.HTTPError` or `TryLater` when asking later may help.
        """
        try:
            return await self._from_telegram(job, stem, sent, folder / "cached", say)
        except SourceGone as error:
            log.info("job %s: stem %s is not to be had from Telegram: %s", job.id, stem.key, error)
        except OSError as error:
            raise TryLater(60, f"stems cannot be written: {error.strerror}") from error
        if not stem.url:
            return None
        async with JobStems(job, [stem], folder, None, say, self._fetcher, self._separation) as fetched:
            return (await fetched.outcome(stem)).file

    async def _from_telegram(self, job: Job, stem: Stem, sent: Sent, path: Path, say: Language) -> StemFile:
        """Raises `SourceGone` also for what Telegram keeps, but is too big to be given to a bot."""
        if not sent.file_id:
            raise SourceGone("it has no file_id")
        await self._files.save(await self._files.find(sent.file_id), path, self._fetcher.max_bytes)
        song, name, nameless = job.source.title, say.stem(stem), say("title.song")
        extension = extension_of_format(await asyncio.to_thread(detect_format, path), ".mp3")
        duration_s = round(stem.duration_s) or job.source.duration_s
        return StemFile(
            stem.key,
            title(song, name, nameless),
            file_name(song, name, extension, nameless),
            path,
            duration_s,
        )
