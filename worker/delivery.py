"""The task `DELIVER`: sends one job's stems, or the reason why there are none, into its chat.

Stems arrive at least once: a run sends what is not recorded as sent, and records each album. Telegram has no
idempotency key, so the album in flight when a process is killed may arrive twice; none can be missing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
from telegram.error import BadRequest, TelegramError

from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.refusals import is_gone, obstacle_of
from stemdrop.chat.telegram_bot import TELEGRAM_PATIENCE_S
from stemdrop.domain.failures import failure_of, undeliverable
from stemdrop.domain.jobs import CachedStem, Failure, Job, JobState, is_overtaken
from stemdrop.domain.outcomes import Credits, DeliveryRun, Run
from stemdrop.domain.results import Result
from stemdrop.errors import CachedFileGone, DeliveryOverridden, StoreUnavailable, TryLater
from stemdrop.log_context import bind_job
from stemdrop.services.account_queue import AccountQueue
from stemdrop.services.admin_alerts import AdminAlerts
from stemdrop.services.result_polling import ResultPolling
from stemdrop.storage.job_statistics import JobStatistics
from stemdrop.storage.job_store import MAX_IN_FLIGHT, JobStore
from stemdrop.storage.stem_cache import CachedStems, StemCache
from stemdrop.tasks.owner_limits import OwnerLimits, account_is_busy
from worker.chat_errors import ChatClosed, chat_errors
from worker.fail_over import FailOver
from worker.result_sender import ResultSender, Unsent

log = logging.getLogger(__name__)

# With pauses of up to five minutes between runs this is most of a day.
MAX_DELIVERY_RUNS = 200
# At most so many runs of a job may break: the process died, or an unexpected exception was raised.
MAX_BROKEN_RUNS = 10
# Longer than a run needs to record what it has sent once its connection to Redis is back.
NOT_ENDED_S = 3.0
# A message about the sending of stems that is replaced sooner is not worth its share of Telegram's limits.
WORTH_SHOWING_S = 5.0
# One process has the stems of at most so many jobs on disk.
JOBS_ON_DISK = 8


@dataclass(kw_only=True)
class Delivery:
    """Delivers results; one object serves all deliveries of a process."""

    store: JobStore
    result_sender: ResultSender
    job_message: JobMessage
    account_queue: AccountQueue
    polling: ResultPolling
    alerts: AdminAlerts
    stem_cache: StemCache
    job_statistics: JobStatistics
    fail_over: FailOver
    _owner_limits: OwnerLimits[int] = field(
        init=False, default_factory=lambda: OwnerLimits[int](MAX_IN_FLIGHT, account_is_busy)
    )

    async def run(self, job_id: str) -> None:
        """Deliver the job if it is in the state `DELIVERING`. Idempotent. Raises `TryLater`."""
        job = await self.store.get(job_id)
        if job is None:
            return
        bind_job(job_id, job.task_id)
        if job.state is JobState.CHOOSING and job.is_cache_lost:
            await self._ask_again(job)  # the run that moved the job may have died before it asked
        elif is_overtaken(job):
            await self._prefer_success(job)  # the run that failed the job may have died before this
        elif job.state is JobState.DELIVERING and job.result:
            with self._owner_limits.of(job.account):
                await self._run(job, job.result)

    async def _run(self, job: Job, result: Result) -> None:
        run = await self.store.begin_delivery(job.id)
        if run is None:
            return
        if run.number > MAX_DELIVERY_RUNS or run.broken > MAX_BROKEN_RUNS:
            await self._fail(job, undeliverable(job))
            return
        try:
            if run.broken > 1:
                # the earlier run is dead, or only cut off from Redis and about to record what it has sent
                await anyio.sleep(NOT_ENDED_S)
            if run.broken == 1 or await self.store.owns_delivery(job.id, run.token):
                if result.is_success and not result.stems:
                    result = await self.polling.confirm_empty(job, result)
                failure = failure_of(result)
                if failure is None:
                    await self._deliver_or_retry(job, result, run)
                else:
                    if told := await self.fail_over.run(job, failure):
                        await self._fail(job, told)
                    await self._alert(job, result, failure)
        except (TryLater, StoreUnavailable, asyncio.CancelledError):
            # an expected end: a process that stops cancels its runs
            with suppress(StoreUnavailable):
                await self.store.count_run(job.id, Run.BROKEN_DELIVERY, by=-1)
            raise
        await self.store.count_run(job.id, Run.BROKEN_DELIVERY, by=-1)

    async def _deliver_or_retry(self, job: Job, result: Result, run: DeliveryRun) -> None:
        try:
            async with chat_errors(job, self.store, run.number):
                await self._deliver(job, result, run)
        except ChatClosed as error:
            if error.obstacle:
                log.warning("job %s: its chat does not take its stems now: %s", job.id, error)
                await self._fail(job, replace(undeliverable(job), code=error.obstacle))
                return
            log.warning("job %s: its chat is gone: %s", job.id, error)
            if await self.store.fail_delivery(job, undeliverable(job)):
                await self.store.close(job.id)
                await self.account_queue.next(job.account)

    async def _deliver(self, job: Job, result: Result, run: DeliveryRun) -> None:
        async def check_owner() -> None:
            if not await self.store.owns_delivery(job.id, run.token):
                raise DeliveryOverridden

        send = self.result_sender.send_cached if job.cached else self.result_sender.send_downloaded
        try:
            async with self._showing_progress(job, run):
                unsent = await send(job, result, check_owner)
            await check_owner()
        except DeliveryOverridden:
            log.info("job %s: another run delivers it, or it has ended", job.id)
        except CachedFileGone as error:
            log.warning("job %s: Telegram no longer has its stems: %s", job.id, error)
            await self._drop_cached(job)
        else:
            if unsent.is_complete and not job.cached:
                await self._cache(job, result, unsent)
            is_lost = bool(unsent.missing) and not unsent.can_retry
            if job.paid_by and is_lost and not await self.store.sent(job.id):
                log.warning("job %s: the stems that job %s has paid for are gone", job.id, job.paid_by)
                await self._drop_cached(job)
            else:
                await self._finish(job, unsent)

    async def _finish(self, job: Job, unsent: Unsent) -> None:
        if unsent.missing or unsent.refused:
            log.warning(
                "job %s: some stems are lacking: not fetched %s, refused by Telegram %s",
                *(job.id, unsent.missing, unsent.refused),
            )
        changes = {**unsent.changes(), "is_timed": True}
        if await self.store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED, **changes):
            log.info("job %s: delivered", job.id)
            await self._show(job)
            await self.account_queue.next(job.account)
            await self._note_success(job)
        elif job.mode and not job.cached and await self.store.get(job.id) is None:
            # the job was deleted meanwhile, so its stems must not stay in the cache
            await self.stem_cache.forget(job.source, (job.mode, job.instrument), job.file_format)

    async def _fail(self, job: Job, failure: Failure) -> None:
        if await self.store.fail_delivery(job, failure):
            # a success may have come before the failure is shown
            await self._prefer_success(await self.store.get(job.id))
            log.warning("job %s: failed with %s", job.id, failure.code)
            await self._show(job)
            await self.account_queue.next(job.account)
        # a success may also have come while the failure was shown
        await self._prefer_success(await self.store.get(job.id))

    async def _alert(self, job: Job, result: Result, failure: Failure) -> None:
        if result.shape:
            log.error(
                "job %s: the form of its result is unknown, report it to the project: %s",
                job.id,
                result.shape,
            )
        await self.alerts.failed(failure.code, job.provider)

    async def _prefer_success(self, job: Job | None) -> None:
        """Raise `TryLater` if a paid success came after the failure, so that the next run sends its stems."""
        if job is None or not (job.result and job.result.is_success):
            return
        if is_overtaken(job):
            await self.store.deliver_again(job.id, Credits.SETTLE)
        elif job.state is not JobState.DELIVERING:
            return
        raise TryLater(0.1, "a success came after the failure")

    async def _drop_cached(self, job: Job) -> None:
        """Ask the user whether to pay again, since cached stems are lost; stems that have arrived stay."""
        if job.mode:
            choice = (job.mode, job.instrument)
            cached = await self.stem_cache.find(job.source, choice, job.file_format)
            # the cache may hold newer stems by now, for which another user has paid
            if cached and set(cached.stems) == set(job.cached):
                await self.stem_cache.forget(job.source, choice, job.file_format)
        changes: dict[str, Any] = {"cached": (), "result": None, "facts": None, "task_id": ""}
        changes["is_cache_lost"] = True
        changes["create_started_at"] = 0  # a job that shares a paid task has the time of its payer's call
        await self.store.move(job.id, [JobState.DELIVERING], JobState.CHOOSING, **changes)
        # read again: if Redis' answer was lost, the repeated move reports that nothing was moved
        current = await self.store.get(job.id)
        if current and current.state is JobState.CHOOSING and current.is_cache_lost:
            await self._ask_again(current)

    async def _ask_again(self, job: Job) -> None:
        """Show the question; recovery does not, since only the user can move such a job on."""
        await self.account_queue.next(job.account)
        try:
            await self.job_message.show_current(job.id)
        except BadRequest as error:
            log.warning("job %s: the question to its user could not be shown: %s", job.id, error)
        except TelegramError as error:
            if not is_gone(error):
                raise TryLater(5, f"Telegram: {type(error).__name__}: {error}") from error

    async def _cache(self, job: Job, result: Result, unsent: Unsent) -> None:
        """Cache the `file_id`s of a complete result, and the measures of its song. Idempotent."""
        sent = await self.store.sent(job.id)
        stems = [
            CachedStem(stem.key, entry.kind, entry.file_id, entry.title)
            for stem in result.stems
            if (entry := sent.get(stem.key))
        ]
        if stems and all(stem.file_id for stem in stems):
            await self.stem_cache.put(job, CachedStems(result, tuple(stems), unsent.facts, unsent.peaks))

    async def _note_success(self, job: Job) -> None:
        """Count the job's instrument and the time from its turn to its result, once per job."""
        began_at = job.create_started_at or job.picked_at
        if job.mode and began_at and not (job.cached or job.paid_by or job.is_timed):
            if job.instrument:
                await self.job_statistics.note_instrument(job.instrument)
            await self.job_statistics.note_duration(job.mode, job.moved_at - began_at)

    @asynccontextmanager
    async def _showing_progress(self, job: Job, run: DeliveryRun) -> AsyncIterator[None]:
        """Show that stems are being sent, once that has taken `WORTH_SHOWING_S`, over all runs."""
        has_begun = asyncio.Event()
        waited_s = max(self.job_message.clock() - job.moved_at, 0) if run.number > 1 else 0

        async def show() -> None:
            await anyio.sleep(max(WORTH_SHOWING_S - waited_s, 0))
            has_begun.set()
            try:
                if await self.job_message.show_if_changed(job, TELEGRAM_PATIENCE_S):
                    await self.job_message.show_newer_state(job)
            except (TelegramError, TryLater, StoreUnavailable) as error:
                log.info("job %s: its progress could not be shown: %s", job.id, error)

        showing = asyncio.create_task(show())
        try:
            yield
        except asyncio.CancelledError:
            showing.cancel()
            raise
        finally:
            if not has_begun.is_set():
                showing.cancel()
            await asyncio.wait({showing})  # a later edit would replace the job's end in its message

    async def _show(self, job: Job) -> None:
        """Show the job's end if possible; otherwise recovery shows it later."""
        try:
            await self.job_message.show_current(job.id)
        except TryLater as error:
            log.info("job %s: its message waits: %s", job.id, error)
        except BadRequest as error:
            if is_gone(error):
                raise
            log.warning("job %s: its message could not be updated: %s", job.id, error)
            if obstacle_of(error):
                await self._tell_owner(job)

    async def _tell_owner(self, job: Job) -> None:
        """Tell the user in private what the group refuses; recovery still tries to show it in the group."""
        current = await self.store.get(job.id)
        if current is None or current.user_id in (0, current.chat_id):
            return
        text, keyboard = await self.job_message.render(current)
        try:
            await self.job_message.bot.send_message(current.user_id, text, reply_markup=keyboard)
        except (TelegramError, TryLater) as error:
            log.info("job %s: its user cannot be told in private: %s", job.id, error)
