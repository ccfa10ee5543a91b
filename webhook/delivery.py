"""The task `DELIVER`: one job's stems, or the explanation why there are none, into its chat.

At least once: it begins by asking what is already sent, and ticks off each album. Telegram has no idempotency
key, so the one album in flight at a kill may come twice; none can be missing.
"""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
from telegram import Bot
from telegram.error import BadRequest, ChatMigrated, TelegramError

from stemdrop.errors import (
    SourceGone,
    StoreUnavailable,
    TryLater,
)
from stemdrop.jobs import Failure, Job, JobState
from stemdrop.results import Stem
from stemdrop.separation import SeparationClient
from stemdrop.status import StatusMessage
from stemdrop.store import JobStore, Sent
from stemdrop.telegram import TelegramFiles, is_gone
from stemdrop.texts import Texts
from webhook.albums import AlbumSender, album_sizes
from webhook.fetch import StemFetcher
from webhook.stems import JobStems

log = logging.getLogger(__name__)

# With pauses of up to five minutes between runs this is most of a day.
MAX_RUNS = 200
TICK_TRIES = 30
# A run that breaks for a reason nobody foresaw may break after an album was sent: not again and again.
MAX_BROKEN_RUNS = 3
# The disk budget of one process: so many jobs' stems lie on disk at once.
JOBS_ON_DISK = 4
MIN_FREE_BYTES = 512 * 1024 * 1024
# Bot API: a thumbnail has at most 200 kB.
MAX_COVER_BYTES = 200_000
_REFUNDED = 531


class Delivery:
    """Handed what it needs; one object serves all deliveries of a process."""

    def __init__(
        self,
        store: JobStore,
        bot: Bot,
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
        self._disk = asyncio.Semaphore(JOBS_ON_DISK)

    async def run(self, job_id: str) -> None:
        """Deliver the job if it waits for it; running twice delivers once. Raises `TryLater`."""
        job = await self._store.get(job_id)
        if job is None or job.state is not JobState.DELIVERING or job.result is None:
            return
        run = await self._store.count_run(job_id, "deliver")
        if run > MAX_RUNS:
            await self._fail(job, Failure("undeliverable", charged=True))
        elif not job.result.is_success:
            await self._fail(job, Failure(str(job.result.code), charged=job.result.code != _REFUNDED))
        elif not job.result.stems:
            await self._fail(job, Failure("empty", charged=True))
        else:
            await self._deliver_or_give_up(job, run)

    async def _deliver_or_give_up(self, job: Job, run: int) -> None:
        try:
            await self._deliver_or_later(job, run)
        except (StoreUnavailable, TryLater):
            raise
        except Exception:
            if await self._store.count_run(job.id, "broken delivery") >= MAX_BROKEN_RUNS:
                await self._fail(job, Failure("undeliverable", charged=True))
            raise

    async def _deliver_or_later(self, job: Job, run: int) -> None:
        try:
            await self._show(job)
            async with self._disk:
                await self._deliver(job, job.result.stems if job.result else ())
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
        missing: list[str] = []
        links: list[tuple[str, str]] = []
        with tempfile.TemporaryDirectory(prefix="stemdrop-") as folder:
            if waiting and shutil.disk_usage(folder).free < MIN_FREE_BYTES:
                raise TryLater(60, f"less than {MIN_FREE_BYTES} bytes are free for stems")
            cover = await self._cover(job) if waiting else None
            say = self._texts.language(job.language)
            async with JobStems(job, waiting, Path(folder), say, self._fetcher, self._separation) as fetched:
                for album in _albums(waiting):
                    outcomes = [await fetched.outcome(stem) for stem in album]
                    files = [outcome.file for outcome in outcomes if outcome.file]
                    arrived = await self._albums.send(job, files, cover) if files else {}
                    if arrived:
                        await self._tick(job, arrived)
                        log.info("job %s: sent %s", job.id, ", ".join(arrived))
                    for file in files:
                        file.path.unlink(missing_ok=True)
                    links += [(outcome.name, outcome.link) for outcome in outcomes if outcome.link]
                    missing += [o.name for o in outcomes if not o.link and o.stem.key not in arrived]
        await self._end(job, missing, links)

    async def _tick(self, job: Job, arrived: dict[str, Sent]) -> None:
        """What is in the chat must be known to be: a Redis that is away for a moment is waited for."""
        for _ in range(TICK_TRIES):
            try:
                await self._store.tick(job.id, arrived)
                return
            except StoreUnavailable as error:
                log.warning("job %s: what was sent cannot be ticked off yet: %s", job.id, error)
                await asyncio.sleep(2)
        await self._store.tick(job.id, arrived)

    async def _end(self, job: Job, missing: list[str], links: list[tuple[str, str]]) -> None:
        if missing:
            log.warning("job %s: could not be fetched or sent: %s", job.id, ", ".join(missing))
        ended = await self._store.move(
            job.id, [JobState.DELIVERING], JobState.DELIVERED, missing=missing, links=links
        )
        if ended:
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
