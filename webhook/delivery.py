"""The task `DELIVER`: one job's stems, or the explanation why there are none, into its chat.

At least once: it begins by asking what is already sent, and ticks off each album. Telegram has no idempotency
key, so the one album in flight at a kill may come twice; none can be missing.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from telegram.error import BadRequest, ChatMigrated, TelegramError
from telegram.ext import ExtBot

from stemdrop.errors import (
    SourceGone,
    StoreUnavailable,
    TryLater,
)
from stemdrop.jobs import Failure, Job, JobState
from stemdrop.results import Result, Stem
from stemdrop.separation import SeparationClient
from stemdrop.status import StatusMessage
from stemdrop.store import JobStore, Run, Sent, insist
from stemdrop.telegram import TelegramFiles, is_gone
from stemdrop.texts import Texts
from webhook.albums import AlbumSender, album_sizes
from webhook.fetch import StemFetcher
from webhook.stems import JobStems, Outcome

log = logging.getLogger(__name__)

# With pauses of up to five minutes between runs this is most of a day.
MAX_RUNS = 200
# Runs that never ended: their process died, or they broke for a reason nobody foresaw.
MAX_BROKEN_RUNS = 10
# The disk budget of one process: so many jobs' stems lie on disk at once.
JOBS_ON_DISK = 8
MIN_FREE_BYTES = 512 * 1024 * 1024
# Bot API: a thumbnail has at most 200 kB.
MAX_COVER_BYTES = 200_000
_REFUNDED = 531


@dataclass
class _Ended:
    """What a delivery has to say of stems that are not in the chat; as the attributes of `Job`."""

    missing: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)


class Delivery:
    """Handed what it needs; one object serves all deliveries of a process."""

    def __init__(
        self,
        store: JobStore,
        bot: ExtBot[float],
        fetcher: StemFetcher,
        files: TelegramFiles,
        separation: SeparationClient,
        status: StatusMessage,
        texts: Texts,
    ) -> None:
        self._store = store
        self._albums = AlbumSender(bot)
        self._fetcher = fetcher
        self._files = files
        self._separation = separation
        self._status = status
        self._texts = texts

    async def run(self, job_id: str) -> None:
        """Deliver the job if it waits for it; running twice delivers once. Raises `TryLater`."""
        job = await self._store.get(job_id)
        if job is None or job.state is not JobState.DELIVERING or job.result is None:
            return
        runs = await self._store.count_run(job_id, Run.DELIVER)
        broken = await self._store.count_run(job_id, Run.BROKEN_DELIVERY)
        if runs > MAX_RUNS or broken > MAX_BROKEN_RUNS:
            await self._fail(job, Failure("undeliverable", charged=True))
            return
        try:
            await self._end_or_deliver(job, job.result, runs)
        except (TryLater, StoreUnavailable):
            await self._store.count_run(job_id, Run.BROKEN_DELIVERY, by=-1)
            raise
        await self._store.count_run(job_id, Run.BROKEN_DELIVERY, by=-1)

    async def _end_or_deliver(self, job: Job, result: Result, run: int) -> None:
        if not result.is_success:
            await self._fail(job, Failure(str(result.code), charged=result.code != _REFUNDED))
            await self._prefer_success(job)
        elif not result.stems:
            await self._fail(job, Failure("empty", charged=True))
        else:
            await self._deliver_or_later(job, result.stems, run)

    async def _prefer_success(self, job: Job) -> None:
        """A success that came while the failure was being told is what was paid for."""
        current = await self._store.get(job.id)
        if current and current.result and current.result.is_success and current.state is JobState.FAILED:
            await self._store.deliver_again(job.id)
            raise TryLater(0.1, "a success came after the failure")

    async def _deliver_or_later(self, job: Job, stems: Sequence[Stem], run: int) -> None:
        try:
            await self._show(job)
            await self._deliver(job, stems)
        except ChatMigrated as error:
            log.info("job %s: its group became the supergroup %d", job.id, error.new_chat_id)
            await self._store.migrate(job, error.new_chat_id)
            raise TryLater(0.1, "the group became a supergroup") from error
        except TelegramError as error:
            if not is_gone(error):
                raise TryLater(min(2.0**run, 300), f"Telegram: {type(error).__name__}: {error}") from error
            log.warning("job %s: its chat is gone: %s", job.id, error)
            if await self._store.fail(job.id, [JobState.DELIVERING], Failure("undeliverable", charged=True)):
                await self._store.close(job.id)

    async def _deliver(self, job: Job, stems: Sequence[Stem]) -> None:
        sent = await self._store.sent(job.id)
        waiting = [stem for stem in stems if stem.key not in sent]
        ended = _Ended()
        with tempfile.TemporaryDirectory(prefix="stemdrop-") as folder:
            if waiting and shutil.disk_usage(folder).free < MIN_FREE_BYTES:
                raise TryLater(60, f"less than {MIN_FREE_BYTES} bytes are free for stems")
            cover = await self._cover(job) if waiting else None
            say = self._texts.language(job.language)
            async with JobStems(job, waiting, Path(folder), say, self._fetcher, self._separation) as fetched:
                for album in _albums(waiting):
                    outcomes = [await fetched.outcome(stem) for stem in album]
                    await self._send(job, outcomes, cover, ended)
        await self._end(job, ended)

    async def _send(
        self, job: Job, outcomes: Sequence[Outcome], cover: bytes | None, ended: "_Ended"
    ) -> None:
        files = [outcome.file for outcome in outcomes if outcome.file]

        async def tick(sent: dict[str, Sent]) -> None:
            # what is in the chat must be known to be
            what = f"job {job.id}: {', '.join(sent)} sent but not ticked off yet"
            await insist(lambda: self._store.tick(job.id, sent), what)
            log.info("job %s: sent %s", job.id, ", ".join(sent))

        arrived = await self._albums.send(job, files, cover, tick) if files else set()
        for file in files:
            file.path.unlink(missing_ok=True)
        for outcome in outcomes:
            if outcome.link:
                ended.links.append((outcome.name, outcome.link))
            elif outcome.file is None:
                ended.missing.append(outcome.name)
            elif outcome.stem.key not in arrived:
                ended.refused.append(outcome.name)

    async def _end(self, job: Job, ended: "_Ended") -> None:
        if ended.missing or ended.refused:
            log.warning("job %s: missing %s, refused %s", job.id, ended.missing, ended.refused)
        if await self._store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED, **vars(ended)):
            log.info("job %s: delivered", job.id)
            await self._show(job)

    async def _fail(self, job: Job, failure: Failure) -> None:
        if await self._store.fail(job.id, [JobState.DELIVERING], failure):
            log.warning("job %s: failed with %s", job.id, failure.code)
            await self._show(job)

    async def _show(self, job: Job) -> None:
        """Best effort: stems matter more than the message, and the sweep shows an end that was not shown."""
        try:
            await self._status.refresh(job.id)
        except TryLater as error:
            log.info("job %s: its message waits: %s", job.id, error)
        except BadRequest as error:
            if is_gone(error):
                raise
            log.warning("job %s: its message could not be updated: %s", job.id, error)

    async def _cover(self, job: Job) -> bytes | None:
        """The cover that Telegram made of the original's, as JPEG; a courtesy, never worth a failure."""
        if not job.source.thumbnail_file_id:
            return None
        try:
            file = await self._files.find(job.source.thumbnail_file_id)
            async with self._files.open(file) as chunks:
                cover = b"".join([chunk async for chunk in chunks])
        except (SourceGone, TelegramError, httpx.HTTPError) as error:
            log.info("job %s: no cover: %s", job.id, type(error).__name__)
            return None
        return cover if len(cover) <= MAX_COVER_BYTES and cover.startswith(b"\xff\xd8") else None


def _albums(stems: Sequence[Stem]) -> Iterator[Sequence[Stem]]:
    start = 0
    for size in album_sizes(len(stems)) if stems else ():
        yield stems[start : start + size]
        start += size
