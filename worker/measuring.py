"""The task MEASURE: measures the whole stems of a song, which its picture, its mixer and clicks need."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
from telegram.error import TelegramError

from stemdrop.chat.translations import Translations
from stemdrop.domain.jobs import Job
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.song_facts import SongFacts
from stemdrop.errors import TryLater
from stemdrop.log_context import bind_job
from stemdrop.services.audio_inspection import inspect_audio
from stemdrop.services.disk_space import WORKER_MIN_FREE_BYTES, temp_folder
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.stem_cache import StemCache
from worker.audio.formats import detect_format
from worker.audio.song_meter import SongMeter
from worker.cancellable_thread import run_in_thread
from worker.stems.downloader import StemDownloader

log = logging.getLogger(__name__)

# Each process measures one song at a time, because measuring needs a whole core.
_MEASURED_AT_ONCE = 1
# A process remembers the measured stems of so many songs of which another stem was away.
_MAX_UNFINISHED = 8
# The tempo of a sample differs by a smaller share from that of the whole song.
_SAME_TEMPO = 0.03


@dataclass(kw_only=True)
class Measuring:
    """Measures the songs of any jobs; one object serves all of a process."""

    store: JobStore
    stem_cache: StemCache
    downloader: StemDownloader
    translations: Translations
    _slots: asyncio.Semaphore = field(
        init=False, default_factory=lambda: asyncio.Semaphore(_MEASURED_AT_ONCE)
    )
    _unfinished: dict[str, SongMeter] = field(init=False, default_factory=dict)  # by job id

    async def run(self, job_id: str) -> None:
        """Measure the job's stems unless that is done. Idempotent.

        Stems that cannot be fetched now are measured when they are asked for again.
        """
        job = await self.store.get(job_id)
        if job is None:
            return
        bind_job(job_id, job.task_id)
        try:
            await self.measure(job)
        except (TelegramError, httpx.HTTPError, TryLater) as error:  # its text may hold the bot's token
            log.info("job %s: its song is not measured now: %s", job.id, type(error).__name__)

    async def give_up(self, job_id: str) -> None:
        """Mark a job's cached stems as measured, without peaks: measuring them has killed its workers."""
        job = await self.store.get(job_id)
        if job and job.mode:
            cached = await self.stem_cache.find(job.source, (job.mode, job.instrument), job.file_format)
            if cached and not cached.is_measured:
                await self.stem_cache.put_measures(job, job.facts, {})

    async def measure(self, job: Job) -> Job:
        """Measure the job's stems unless that is done; returns the job with the facts of its song.

        Raises as `StemDownloader.download_sent` when a later try may succeed; a later try in this process
        measures only the stems that are left.
        """
        if job.mode is None or job.result is None:
            return job
        cached = await self.stem_cache.find(job.source, (job.mode, job.instrument), job.file_format)
        if cached and cached.is_measured:
            facts = cached.facts
        else:
            sent = await self.store.sent(job.id)
            meter = self._unfinished.pop(job.id, None)
            meter = meter or SongMeter(job.id, job.result.stems, is_whole=True)
            if not (job.missing or job.refused or job.links):
                meter.silent = {stem.key for stem in job.result.stems if stem.key not in sent}
            try:
                with temp_folder(WORKER_MIN_FREE_BYTES) as folder:
                    await self._measure(job, sent, meter, folder)
            except (TelegramError, httpx.HTTPError, TryLater):
                self._keep(meter)
                raise
            facts = await meter.facts()
            # stems that Telegram and the provider have lost can never be measured
            if not meter.is_complete:
                facts = _with_beats(job.facts, facts)
            await self.stem_cache.put_measures(job, facts, meter.peaks)
        if facts != job.facts:
            await self.store.set(job.id, facts=facts)
        return replace(job, facts=facts)

    async def _measure(self, job: Job, sent: Mapping[str, Sent], meter: SongMeter, folder: Path) -> None:
        """Measure the sent stems that are not yet measured and can be fetched, one after the other."""
        translate = self.translations.language(job.language)
        for stem in job.result.stems if job.result else ():
            if stem.key not in sent or stem.key in meter.measured:
                continue
            file = await self.downloader.download_sent(job, stem, sent[stem.key], folder, translate)
            if file is None:
                continue
            audio_format = await run_in_thread(detect_format, file.path)
            content = await run_in_thread(inspect_audio, file.path)
            if audio_format and content:
                async with self._slots:
                    await meter.measure(stem, file.path, audio_format, content.duration_s)
            with suppress(FileNotFoundError):
                file.path.unlink()

    def _keep(self, meter: SongMeter) -> None:
        if meter.is_broken:
            return
        self._unfinished[meter.job_id] = meter
        if len(self._unfinished) > _MAX_UNFINISHED:
            del self._unfinished[next(iter(self._unfinished))]


def _with_beats(known: SongFacts | None, found: SongFacts | None) -> SongFacts | None:
    """Return what is known of a song, with the beats that some of its stems tell if the tempo agrees."""
    if known and found and found.has_beats and abs(found.bpm - known.bpm) < _SAME_TEMPO * known.bpm:
        return replace(known, bpm=found.bpm, beat_s=found.beat_s)
    return known
