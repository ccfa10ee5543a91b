"""Downloads stems from the provider or from Telegram to disk, and covers from Telegram."""

import logging
from collections.abc import Sequence
from pathlib import Path

import httpx
from telegram.error import TelegramError

from stemdrop.chat.telegram_files import TelegramFiles
from stemdrop.chat.translations import Language
from stemdrop.domain.audio_types import extension_of_content
from stemdrop.domain.jobs import Job
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.results import Stem
from stemdrop.errors import SourceGone, SourceTooBig, SourceUnavailable, TryLater
from stemdrop.provider.registry import Providers
from stemdrop.services.audio_inspection import inspect_audio
from stemdrop.services.disk_space import writing
from worker.audio.song_meter import SongMeter
from worker.cancellable_thread import run_in_thread
from worker.stems.download import DownloadedStem, StemDownloads, StemOutcome, describe
from worker.stems.fetcher import StemFetcher

log = logging.getLogger(__name__)

# Bot API: a thumbnail has at most 200 kB.
MAX_COVER_BYTES = 200_000
_UNAVAILABLE_S = 30.0
# The first runs of a task wait for a stem that is away; later ones go on without it.
RUNS_THAT_WAIT = 6


class StemDownloader:
    """Downloads stems of any job; one object serves all jobs of a process."""

    def __init__(self, fetcher: StemFetcher, providers: Providers, files: TelegramFiles) -> None:
        self._fetcher = fetcher
        self._providers = providers
        self._files = files

    def start(
        self,
        job: Job,
        stems: Sequence[Stem],
        folder: Path,
        translate: Language,
        cover: bytes | None = None,
        meter: SongMeter | None = None,
    ) -> StemDownloads:
        """Return the downloads of these stems from the provider, which begin when the `with` block does."""
        return StemDownloads(
            *(job, stems, folder, translate, cover, meter),
            fetcher=self._fetcher,
            providers=self._providers,
        )

    async def download_sent(
        self, job: Job, stem: Stem, sent: Sent, folder: Path, translate: Language, run: int = 1
    ) -> DownloadedStem | None:
        """Download a stem that is in the chat, from Telegram or else from the provider, into `folder`.

        The next call may overwrite the file. Returns `None` if neither has the stem any more. Raises
        `TelegramError`, `httpx.HTTPError` or `TryLater` when a later try may succeed; `TryLater` for a stem
        that is away only in the first runs of a task (`RUNS_THAT_WAIT`).
        """
        can_retry = False
        try:
            with writing("stems"):
                return await self._from_telegram(job, stem, sent, folder / "cached", translate)
        except SourceGone as error:
            log.info("job %s: Telegram does not give stem %s: %s", job.id, stem.key, error)
        except SourceUnavailable as error:
            can_retry = True
            log.info("job %s: Telegram does not give stem %s now: %s", job.id, stem.key, error)
        outcome = await self._from_provider(job, stem, folder, translate) if stem.url else None
        if outcome and outcome.file:
            return outcome.file
        if run <= RUNS_THAT_WAIT and (can_retry or (outcome and outcome.can_retry)):
            raise TryLater(_UNAVAILABLE_S, f"stem {stem.key} cannot be downloaded now")
        return None

    async def _from_provider(self, job: Job, stem: Stem, folder: Path, translate: Language) -> StemOutcome:
        async with self.start(job, [stem], folder, translate) as downloads:
            outcome = await downloads.outcome(stem)
            await downloads.tag([outcome], job.facts)
            return outcome

    async def cover(self, job: Job) -> bytes | None:
        """Return Telegram's thumbnail of the source, a JPEG; `None` if no usable one can be downloaded."""
        if not job.source.thumbnail_file_id:
            return None
        try:
            file = await self._files.find(job.source.thumbnail_file_id)
            async with self._files.open(file) as chunks:
                cover = b"".join([chunk async for chunk in chunks])
        except (SourceGone, SourceUnavailable, TelegramError, httpx.HTTPError) as error:
            log.info("job %s: no cover: %s", job.id, type(error).__name__)
            return None
        return cover if len(cover) <= MAX_COVER_BYTES and cover.startswith(b"\xff\xd8") else None

    async def _from_telegram(
        self, job: Job, stem: Stem, sent: Sent, path: Path, translate: Language
    ) -> DownloadedStem:
        """Download the stem by its `file_id`. Raises `SourceGone` also if it is too large for a bot."""
        if not sent.file_id:
            raise SourceGone("it has no file_id")
        found, max_bytes = await self._files.find(sent.file_id), self._fetcher.max_bytes
        if await self._files.save(found, path, max_bytes) > max_bytes:
            raise SourceTooBig(f"it has more than {max_bytes} bytes")
        content = await run_in_thread(inspect_audio, path)
        extension = extension_of_content(content.demuxers if content else "", ".mp3")
        return describe(job, stem, translate, path, extension)
