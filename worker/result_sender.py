"""Sends the stems of one result into the job's chat, downloaded or from Telegram's cache."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread

from stemdrop.chat.translations import Translations
from stemdrop.domain.audio_types import PLAYABLE_EXTENSIONS
from stemdrop.domain.jobs import Job
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.results import Result
from stemdrop.domain.song_facts import SongFacts
from stemdrop.domain.titles import MAX_CAPTION, MAX_NAME, cut, in_sentence, title
from stemdrop.observability.metric_definitions import DELIVERY_BYTES, DELIVERY_SECONDS
from stemdrop.services.disk_space import WORKER_MIN_FREE_BYTES, temp_folder
from stemdrop.storage.connection import retry_until_stored
from stemdrop.storage.counters import Counters
from stemdrop.storage.job_store import JobStore
from worker.audio.song_meter import SongMeter
from worker.stems.download import DownloadedStem, StemOutcome
from worker.stems.downloader import StemDownloader
from worker.stems.stem_sender import (
    AUDIO,
    DOCUMENT,
    CheckOwner,
    OutgoingStem,
    RecordSent,
    StemSender,
    Upload,
    albums,
)

log = logging.getLogger(__name__)


@dataclass
class Unsent:
    """The names of stems that are not in the chat, by reason, and the measures of the song.

    `links` holds the name and URL of each stem that is too big, and `peaks` the encoded peaks of the stems
    that were measured whole. `can_retry`: a missing stem is perhaps only away for a while.
    """

    missing: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    peaks: Mapping[str, str] = field(default_factory=dict)
    facts: SongFacts | None = None
    can_retry: bool = False

    def changes(self) -> dict[str, Any]:
        """Return the attributes of `Job` that the delivery sets."""
        names = ("missing", "refused", "links", "silent")
        return {name: getattr(self, name) for name in names}

    @property
    def is_complete(self) -> bool:
        """Whether all audible stems are in the chat."""
        return not (self.missing or self.refused or self.links)


@dataclass(kw_only=True)
class ResultSender:
    """Sends the stems that are not in the chat yet, and records each album; serves all jobs of a process."""

    store: JobStore
    sender: StemSender
    downloader: StemDownloader
    translations: Translations
    counters: Counters

    async def send_downloaded(self, job: Job, result: Result, check_owner: CheckOwner) -> Unsent:
        """Download and send the stems. Raises `DeliveryOverridden`."""
        sent = await self.store.sent(job.id)
        waiting = [stem for stem in result.stems if stem.key not in sent]
        unsent = Unsent(facts=job.facts)
        with temp_folder(WORKER_MIN_FREE_BYTES if waiting else 0) as folder:
            cover = await self.downloader.cover(job) if waiting else None
            translate = self.translations.language(job.language)
            # a song is measured only if this run has all of its stems
            meter = None if sent else SongMeter(job.id, result.stems)
            async with self.downloader.start(job, waiting, folder, translate, cover, meter) as downloads:
                for album in albums(waiting):
                    outcomes = [await downloads.outcome(stem) for stem in album]
                    if meter:
                        unsent.facts = await self._facts(job, meter)
                    await downloads.tag(outcomes, unsent.facts)
                    await self._send_album(job, outcomes, cover, unsent, check_owner)
            unsent.peaks = meter.peaks if meter else {}
        return unsent

    async def send_cached(self, job: Job, result: Result, check_owner: CheckOwner) -> Unsent:
        """Send the job's cached stems by `file_id`.

        Raises `CachedFileGone` when Telegram has lost one, and `DeliveryOverridden`.
        """
        translate, sent = self.translations.language(job.language), await self.store.sent(job.id)
        cached = {stem.key: stem for stem in job.cached}
        names = {stem.key: translate.stem(stem) for stem in result.stems}
        waiting = [
            OutgoingStem(
                stem.key,
                stem.title,
                stem.kind,
                stem.file_id,
                own_caption(stem.title, title(job.source.title, name, translate("title.song"))),
            )
            for key, name in names.items()
            if (stem := cached.get(key)) and key not in sent
        ]
        arrived = await self.sender.send(job, waiting, self._record(job), check_owner)
        return Unsent(
            silent=[name for key, name in names.items() if key not in cached],
            refused=[names[stem.key] for stem in waiting if stem.key not in arrived],
        )

    async def _facts(self, job: Job, meter: SongMeter) -> SongFacts | None:
        """Store and return the song's facts so far: a later run, for the other stems, measures nothing."""
        facts = await meter.facts()
        if facts or job.facts:
            await self.store.set(job.id, facts=facts)
        return facts

    async def _send_album(
        self,
        job: Job,
        outcomes: Sequence[StemOutcome],
        cover: bytes | None,
        unsent: Unsent,
        check_owner: CheckOwner,
    ) -> None:
        files = [outcome.file for outcome in outcomes if outcome.file]
        arrived = await self._send_files(job, files, cover, check_owner) if files else set()
        for outcome in outcomes:
            if outcome.link:
                unsent.links.append((outcome.name, outcome.link))
            elif outcome.is_silent:
                unsent.silent.append(outcome.name)
            elif outcome.file is None:
                unsent.missing.append(outcome.name)
                unsent.can_retry |= outcome.can_retry
            elif outcome.stem.key not in arrived:
                unsent.refused.append(outcome.name)

    async def _send_files(
        self, job: Job, files: Sequence[DownloadedStem], cover: bytes | None, check_owner: CheckOwner
    ) -> set[str]:
        stems = [outgoing(job, file, cover) for file in files]
        with self.counters.timed(DELIVERY_SECONDS, "send"):
            arrived = await self.sender.send(job, stems, self._record(job), check_owner)
        sizes = await anyio.to_thread.run_sync(_remove, files)
        self.counters.add(DELIVERY_BYTES, "send", by=sum(sizes[key] for key in arrived))
        return arrived

    def _record(self, job: Job) -> RecordSent:
        async def record(sent: dict[str, Sent]) -> None:
            # a stem that has arrived and is not recorded would be sent again
            what = f"job {job.id}: {', '.join(sent)} sent but not recorded yet"
            await retry_until_stored(lambda: self.store.tick(job.id, sent), what)
            log.info("job %s: sent %s", job.id, ", ".join(sent))

        return record


def _remove(files: Sequence[DownloadedStem]) -> dict[str, int]:
    """Remove the files and return their sizes in bytes by key. Blocking: removal takes a while."""
    sizes = {file.key: file.path.stat().st_size for file in files}
    for file in files:
        file.path.unlink()
    return sizes


def outgoing(job: Job, file: DownloadedStem, cover: bytes | None) -> OutgoingStem:
    """Return the stem to send: as audio, or as a document if not every player takes its format."""
    upload = Upload(file.path, file.file_name)
    if not file.file_name.endswith(tuple(PLAYABLE_EXTENSIONS)):
        # otherwise Telegram may take the document for music and change the file
        return OutgoingStem(file.key, file.title, DOCUMENT, upload, {"disable_content_type_detection": True})
    labels = {
        "title": file.title,
        "performer": cut(job.source.performer, MAX_NAME),
        "duration": file.duration_s,
        "thumbnail": cover,
    }
    present = {name: value for name, value in labels.items() if value}
    return OutgoingStem(file.key, file.title, AUDIO, upload, present)


def own_caption(sent_title: str, own: str) -> Mapping[str, str]:
    """Return a caption with the job's own title, if the file was first sent under another title."""
    return {} if own == sent_title else {"caption": in_sentence(own, MAX_CAPTION)}
