"""The task `DELIVER`: one job's stems, fetched or kept by Telegram, or why there are none, into its chat.

At least once: it begins by asking what is already sent, and ticks off each album. Telegram has no idempotency
key, so the one album in flight at a kill may come twice; none can be missing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
from telegram.error import BadRequest, ChatMigrated, TelegramError
from telegram.ext import ExtBot

from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.telegram_bot import PATIENCE_S, TelegramFiles, is_gone
from stemdrop.chat.translations import Translations
from stemdrop.domain.failures import failure_of
from stemdrop.domain.jobs import CachedStem, Failure, Job, JobState, is_overtaken
from stemdrop.domain.outcomes import Credits, Run, Sent
from stemdrop.domain.results import Result
from stemdrop.domain.titles import MAX_CAPTION, in_sentence, title
from stemdrop.errors import CachedFileGone, SourceGone, StoreUnavailable, TryLater
from stemdrop.log_context import bind_job
from stemdrop.observability.metric_definitions import DELIVERY_BYTES, DELIVERY_SECONDS
from stemdrop.provider.client import SeparationClient
from stemdrop.services.account_queue import AccountQueue
from stemdrop.services.disk_space import temp_folder
from stemdrop.storage.connection import retry_until_stored
from stemdrop.storage.counters import Counters
from stemdrop.storage.job_statistics import JobStatistics
from stemdrop.storage.job_store import MAX_IN_FLIGHT, JobStore
from stemdrop.storage.stem_cache import CachedStems, StemCache
from stemdrop.tasks.owner_limits import OwnerLimits, account_is_busy
from worker.stems.album_sender import AlbumSender, StemFile, Tick, albums
from worker.stems.cached_sender import CachedSender
from worker.stems.download import JobStems, Outcome
from worker.stems.fetcher import StemFetcher

log = logging.getLogger(__name__)

# With pauses of up to five minutes between runs this is most of a day.
MAX_RUNS = 200
# Runs that never ended: their process died, or they broke for a reason nobody foresaw.
MAX_BROKEN_RUNS = 10
# Longer than a run that comes back from a broken network needs to note what it has sent.
NOT_ENDED_S = 3.0
# The disk budget of one process: so many jobs' stems lie on disk at once.
JOBS_ON_DISK = 8
# Bot API: a thumbnail has at most 200 kB.
MAX_COVER_BYTES = 200_000


@dataclass
class _Ended:
    """What a delivery has to say of stems that are not in the chat; as the attributes of `Job`."""

    missing: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether all that can be heard is in the chat."""
        return not (self.missing or self.refused or self.links)


class Delivery:
    """Handed what it needs; one object serves all deliveries of a process."""

    def __init__(
        self,
        *,
        store: JobStore,
        bot: ExtBot[float],
        fetcher: StemFetcher,
        files: TelegramFiles,
        separation: SeparationClient,
        job_message: JobMessage,
        account_queue: AccountQueue,
        stem_cache: StemCache,
        job_statistics: JobStatistics,
        translations: Translations,
        counters: Counters,
    ) -> None:
        self._store = store
        self._counters = counters
        self._albums = AlbumSender(bot)
        self._cached = CachedSender(bot)
        self._fetcher = fetcher
        self._files = files
        self._separation = separation
        self._job_message = job_message
        self._account_queue = account_queue
        self._stem_cache = stem_cache
        self._job_statistics = job_statistics
        self._translations = translations
        self._owner_limits = OwnerLimits[int](MAX_IN_FLIGHT, account_is_busy)

    async def run(self, job_id: str) -> None:
        """Deliver the job if it waits for it; running twice delivers once. Raises `TryLater`."""
        job = await self._store.get(job_id)
        if job and job.state is JobState.CHOOSING and job.is_cache_lost:
            await self._ask_again(job)  # as the run that moved it could not
            return
        if job and is_overtaken(job):
            await self._prefer_success(job)  # likewise
        if job is None or job.state is not JobState.DELIVERING or job.result is None:
            return
        bind_job(job_id, job.task_id)
        with self._owner_limits.of(job.account):
            await self._run(job, job.result)

    async def _run(self, job: Job, result: Result) -> None:
        runs = await self._store.count_run(job.id, Run.DELIVER)
        broken = await self._store.count_run(job.id, Run.BROKEN_DELIVERY)
        if runs > MAX_RUNS or broken > MAX_BROKEN_RUNS:
            await self._fail(job, Failure("undeliverable", charged=not job.cached))
            return
        token = await self._store.begin_delivery(job.id)
        try:
            if broken > 1:
                # that run is dead, or only cut off from Redis: then it first notes what it has sent
                await anyio.sleep(NOT_ENDED_S)
            if await self._store.owns_delivery(job.id, token):
                await self._end_or_deliver(job, result, runs, token)
        except (TryLater, StoreUnavailable, asyncio.CancelledError):
            # it ended for a reason that is known; who is stopped hands back what runs by cancelling it
            with suppress(StoreUnavailable):
                await self._store.count_run(job.id, Run.BROKEN_DELIVERY, by=-1)
            raise
        await self._store.count_run(job.id, Run.BROKEN_DELIVERY, by=-1)

    async def _end_or_deliver(self, job: Job, result: Result, run: int, token: str) -> None:
        if failure := failure_of(result):
            await self._fail(job, failure)
        else:
            await self._deliver_or_later(job, result, run, token)

    async def _prefer_success(self, job: Job) -> None:
        """A success that came meanwhile is what was paid for, and delivered by the next run: `TryLater`."""
        current = await self._store.get(job.id)
        if current is None or not (current.result and current.result.is_success):
            return
        if is_overtaken(current):
            await self._store.deliver_again(job.id, Credits.SETTLE)
        elif current.state is not JobState.DELIVERING:
            return
        raise TryLater(0.1, "a success came after the failure")

    async def _deliver_or_later(self, job: Job, result: Result, run: int, token: str) -> None:
        try:
            await self._show_progress(job)
            if job.cached:
                await self._deliver_cached(job, result)
            else:
                await self._deliver(job, result, token)
        except ChatMigrated as error:
            log.info("job %s: its group became the supergroup %d", job.id, error.new_chat_id)
            await self._store.migrate(job, error.new_chat_id)
            raise TryLater(0.1, "the group became a supergroup") from error
        except TelegramError as error:
            if not is_gone(error):
                raise TryLater(min(2.0**run, 300), f"Telegram: {type(error).__name__}: {error}") from error
            log.warning("job %s: its chat is gone: %s", job.id, error)
            failure = Failure("undeliverable", charged=not job.cached)
            if await self._store.fail(job.id, [JobState.DELIVERING], failure):
                await self._store.close(job.id)
                await self._account_queue.next(job.account)

    async def _deliver(self, job: Job, result: Result, token: str) -> None:
        sent = await self._store.sent(job.id)
        waiting = [stem for stem in result.stems if stem.key not in sent]
        ended = _Ended()
        with temp_folder(needs_room=bool(waiting)) as folder:
            cover = await self._cover(job) if waiting else None
            say = self._translations.language(job.language)
            async with JobStems(job, waiting, folder, cover, say, self._fetcher, self._separation) as fetched:
                for album in albums(waiting):
                    outcomes = [await fetched.outcome(stem) for stem in album]
                    # the job may have been given up, deleted, or taken over by another run
                    if not await self._store.owns_delivery(job.id, token):
                        return
                    await self._send(job, outcomes, cover, ended)
        if ended.is_whole:
            await self._keep(job, result)
        await self._end(job, ended)

    async def _send(
        self, job: Job, outcomes: Sequence[Outcome], cover: bytes | None, ended: "_Ended"
    ) -> None:
        files = [outcome.file for outcome in outcomes if outcome.file]
        arrived = await self._send_album(job, files, cover) if files else set()
        for file in files:
            file.path.unlink(missing_ok=True)
        for outcome in outcomes:
            if outcome.link:
                ended.links.append((outcome.name, outcome.link))
            elif outcome.is_silent:
                ended.silent.append(outcome.name)
            elif outcome.file is None:
                ended.missing.append(outcome.name)
            elif outcome.stem.key not in arrived:
                ended.refused.append(outcome.name)

    async def _send_album(self, job: Job, files: Sequence[StemFile], cover: bytes | None) -> set[str]:
        with self._counters.timed(DELIVERY_SECONDS, "send"):
            arrived = await self._albums.send(job, files, cover, self._ticks(job))
        sizes = [file.path.stat().st_size for file in files if file.key in arrived]
        self._counters.add(DELIVERY_BYTES, "send", by=sum(sizes))
        return arrived

    def _ticks(self, job: Job) -> Tick:
        async def tick(sent: dict[str, Sent]) -> None:
            # what is in the chat must be known to be
            what = f"job {job.id}: {', '.join(sent)} sent but not ticked off yet"
            await retry_until_stored(lambda: self._store.tick(job.id, sent), what)
            log.info("job %s: sent %s", job.id, ", ".join(sent))

        return tick

    async def _deliver_cached(self, job: Job, result: Result) -> None:
        """Send what Telegram keeps; stems of the result that it does not keep were silent."""
        say, sent = self._translations.language(job.language), await self._store.sent(job.id)
        cached = {stem.key: stem for stem in job.cached}
        names = {stem.key: say.stem(stem) for stem in result.stems}
        waiting = [cached[key] for key in names if key in cached and key not in sent]
        titles = {key: title(job.source.title, name, say("title.song")) for key, name in names.items()}
        # who had it split first may have called it otherwise, or in another language
        captions = {
            stem.key: in_sentence(titles[stem.key], MAX_CAPTION)
            for stem in waiting
            if stem.title != titles[stem.key]
        }
        try:
            arrived = await self._cached.send(job, waiting, captions, self._ticks(job))
        except CachedFileGone as error:
            log.warning("job %s: Telegram no longer has its stems: %s", job.id, error)
            await self._lose(job)
            return
        ended = _Ended()
        ended.silent = [name for key, name in names.items() if key not in cached]
        ended.refused = [names[stem.key] for stem in waiting if stem.key not in arrived]
        await self._end(job, ended)

    async def _lose(self, job: Job) -> None:
        """Let the user decide whether to pay for what Telegram no longer has; what has arrived stays so."""
        if job.mode:
            choice = (job.mode, job.instrument)
            cached_result = await self._stem_cache.find(job.source, choice)
            # somebody else may have paid, and put stems there that Telegram has
            if cached_result and set(cached_result.stems) == set(job.cached):
                await self._stem_cache.forget(job.source, choice)
        changes: dict[str, Any] = {"cached": (), "result": None, "is_cache_lost": True}
        await self._store.move(job.id, [JobState.DELIVERING], JobState.CHOOSING, **changes)
        # whatever that says: asked again after a broken connection, it finds itself moved before
        current = await self._store.get(job.id)
        if current and current.state is JobState.CHOOSING and current.is_cache_lost:
            await self._ask_again(current)

    async def _ask_again(self, job: Job) -> None:
        """Show the question; nobody else would, since such a job is its user's to move on."""
        await self._account_queue.next(job.account)
        try:
            await self._job_message.show_current(job.id)
        except BadRequest as error:
            log.warning("job %s: its question could not be shown: %s", job.id, error)
        except TelegramError as error:
            if not is_gone(error):
                raise TryLater(5, f"Telegram: {type(error).__name__}: {error}") from error

    async def _keep(self, job: Job, result: Result) -> None:
        """Put what has arrived on the shelf. Done twice, it is the same as once."""
        sent = await self._store.sent(job.id)
        stems = [
            CachedStem(stem.key, entry.kind, entry.file_id, entry.title)
            for stem in result.stems
            if (entry := sent.get(stem.key))
        ]
        if stems and all(stem.file_id for stem in stems):
            await self._stem_cache.put(job, CachedStems(result, tuple(stems)))

    async def _end(self, job: Job, ended: "_Ended") -> None:
        if ended.missing or ended.refused:
            log.warning("job %s: missing %s, refused %s", job.id, ended.missing, ended.refused)
        changes = {**vars(ended), "is_timed": True}
        if await self._store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED, **changes):
            log.info("job %s: delivered", job.id)
            await self._show(job)
            await self._account_queue.next(job.account)
            await self._note_duration(job)
        elif job.mode and not job.cached and await self._store.get(job.id) is None:
            # it was deleted meanwhile, and all that it brought with it
            await self._stem_cache.forget(job.source, (job.mode, job.instrument))

    async def _note_duration(self, job: Job) -> None:
        """From its turn to its result, once per job: fetching again tells nothing of how long it takes."""
        began_at = job.create_started_at or job.picked_at
        if job.mode and began_at and not (job.cached or job.is_timed):
            await self._job_statistics.note_duration(job.mode, job.moved_at - began_at)

    async def _fail(self, job: Job, failure: Failure) -> None:
        if await self._store.fail(job.id, [JobState.DELIVERING], failure):
            await self._prefer_success(job)  # no failure is told that does not hold
            log.warning("job %s: failed with %s", job.id, failure.code)
            await self._show(job)
            await self._account_queue.next(job.account)
        await self._prefer_success(job)

    async def _show(self, job: Job) -> None:
        """Best effort: stems matter more than the message, and the sweep shows an end that was not shown."""
        await self._try_to_show(job, self._job_message.show_current(job.id))

    async def _show_progress(self, job: Job) -> None:
        """Likewise, and only once: each time takes of the limits that the stems of this chat wait for."""

        async def renew() -> None:
            if await self._job_message.show_if_changed(job, PATIENCE_S):
                await self._job_message.show_newer_state(job)

        await self._try_to_show(job, renew())

    async def _try_to_show(self, job: Job, showing: Awaitable[object]) -> None:
        try:
            await showing
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
