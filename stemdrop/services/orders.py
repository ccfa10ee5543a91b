"""`Orders`: everything that starts, repeats or cancels a job.

A tap that comes twice, or is handled again after a crash, orders only once.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from stemdrop.domain.allowance import Allowance
from stemdrop.domain.jobs import FINAL, CachedStem, Choice, Job, JobState, Mode
from stemdrop.domain.outcomes import Picked
from stemdrop.domain.results import Result
from stemdrop.domain.taps import DEARER_TEXT, NOT_OFFERED_TEXT, Ordered, Tapped
from stemdrop.errors import OverLimit
from stemdrop.services.account_queue import AccountQueue
from stemdrop.services.result_polling import ResultPolling
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.due_jobs import CLOCK_SKEW_S
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.stem_cache import CachedStems, StemCache
from stemdrop.storage.users import Users
from stemdrop.tasks.engine import Engine, Task

log = logging.getLogger(__name__)

_TASKS = {Picked.STARTED: Task.SUBMIT, Picked.SHARED: Task.DELIVER}
# The longest time that a user who has tapped waits for the separation API.
POLL_WAIT_S = 5.0
_UNKNOWN = Tapped()


@dataclass
class Orders:
    """Starts, repeats and cancels jobs. Every method raises `StoreUnavailable`."""

    store: JobStore
    engine: Engine
    stem_cache: StemCache
    abilities: AbilitiesCache
    users: Users
    polling: ResultPolling
    account_queue: AccountQueue
    clock: Callable[[], float] = time.time

    async def pick(
        self,
        job: Job,
        mode: Mode,
        instrument: str,
        *,
        is_unlimited: bool = False,
        starts_at: float = 0,
        at_most: int | None = None,
    ) -> Ordered:
        """Choose the mode of a job and submit, queue or deliver it; of two picks the first counts.

        With `starts_at` (see `Job`), the job is picked only if its user has not undone that start; with
        `at_most`, only if its call costs no more credits. With `is_unlimited` the account pays nothing.
        """
        if job.state is not JobState.CHOOSING:
            return Ordered(job.id)
        abilities = await self.abilities.get(job.source.duration_s, job.asked_before)
        file_format = await self.users.file_format(job, abilities)
        if cached := await self.stem_cache.find(job.source, (mode, instrument), file_format):
            await self._deliver_cached(job, mode, instrument, file_format, cached, starts_at)
            return Ordered(job.id)
        if not abilities.can(mode, instrument):
            log.info("job %s: %s %s is not offered", job.id, mode, instrument)
            return Ordered(job.id, NOT_OFFERED_TEXT)
        cost = abilities.price(mode, instrument)
        price = 0 if is_unlimited else cost
        limit = 0 if is_unlimited else await self.users.limit(job.account)
        picked, spent = await self.store.pick(
            *(job, mode, instrument, limit, price),
            file_format=file_format,
            starts_at=starts_at,
            must_be_free=at_most is not None and cost > at_most,
            agreed_price=cost if at_most is None else at_most,
            is_unlimited=is_unlimited,
        )
        if picked is Picked.DEARER:
            return Ordered(job.id, DEARER_TEXT)
        if picked is Picked.OVER:
            log.info("job %s: %s would exceed its account's %d credits a day", job.id, mode, limit)
            allowance = await self.store.allowance(job.account, limit)
            return Ordered(job.id, over=replace(allowance, price=price))
        if picked is not Picked.LATE:
            chosen = f"{mode} {instrument}".rstrip()
            log.info("job %s: %s, %s; %d credits today", job.id, chosen, picked, spent)
        if picked in _TASKS:
            await self.engine.add(_TASKS[picked], job.id, job.id)
        return Ordered(job.id)

    async def undo(self, job: Job) -> Ordered:
        """Let a job that would start by itself wait for a choice."""
        return Ordered(job.id, None if await self.store.undo(job.id) else "tap.too_late")

    async def over_limit(self, account: int, price: int) -> Allowance | None:
        """Return the account's allowance if less than `price` is left of it today."""
        limit = await self.users.limit(account)
        allowance = replace(await self.store.allowance(account, limit), price=price)
        return allowance if limit and price > allowance.left else None

    async def retry(self, job: Job, *, is_unlimited: bool = False, at_most: int | None = None) -> Ordered:
        """Retry a failed job as a new one, unless a late result, already paid for, has come meanwhile."""
        if job.state is not JobState.FAILED or job.mode is None:
            return Ordered(job.id, "tap.too_late")
        if job.is_undelivered:
            return await self.fetch_again(job)
        if await self._has_come(job):
            is_free = (await self.abilities.get()).is_free
            return Ordered(job.id, "free.came_late" if is_free else "came_late")
        ordered = await self._order(
            lambda: self._new(job, f"retry:{job.id}", _cancelled_at, message_id=job.message_id),
            (job.mode, job.instrument),
            is_unlimited=is_unlimited,
            at_most=at_most,
        )
        if ordered.over or ordered.note:
            return replace(ordered, job_id=job.id)
        await self.store.mark_retried(job.id, ordered.job_id)
        return replace(ordered, note="retried")

    async def ask_again(self, job: Job, tapped: Tapped, *, at_most: int | None = None) -> Ordered:
        """Make one more create call for a job whose last one has lost its answer; idempotent per tap.

        With `at_most`, the call is made only if it costs no more credits.
        """
        is_known = job.asked_again_by == tapped.id
        abilities = await self.abilities.get(job.source.duration_s, job.asked_before)
        price = abilities.price(job.mode, job.instrument) if job.mode else 0
        if not is_known and at_most is not None and price > at_most:
            return Ordered(job.id, DEARER_TEXT)
        is_offered = job.can_ask_again(self.clock()) and not self.is_before(tapped, job.create_started_at)
        if not (is_offered or is_known):
            return Ordered(job.id, "tap.too_late")
        limit = 0 if job.is_unlimited else await self.users.limit(job.account)
        try:
            is_ordered = await self.store.ask_again(job, tapped.id, price, limit)
        except OverLimit:
            allowance = await self.store.allowance(job.account, limit)
            return Ordered(job.id, over=replace(allowance, price=price))
        if not is_ordered:
            return Ordered(job.id, "tap.too_late")
        log.info("job %s: its user has the separation service asked again", job.id)
        await self.engine.add(Task.SUBMIT, job.id, job.id)
        return Ordered(job.id, "ordered")

    async def _has_come(self, job: Job) -> bool:
        if not job.is_out_of_time:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_WAIT_S):
                await self.polling.ask(job)
        current = await self.store.get(job.id)
        return current is not None and current.state is not JobState.FAILED

    async def other_mode(
        self,
        job: Job,
        mode: Mode,
        instrument: str = "",
        tapped: Tapped = _UNKNOWN,
        at_most: int | None = None,
    ) -> Ordered:
        """Split the song of a job that has ended in another way, as a new job."""
        once = f"other:{job.id}:{mode}:{instrument}"
        ordered = await self._order(
            lambda: self._new(job, once, _ended_at, tapped), (mode, instrument), at_most=at_most
        )
        if ordered.over or ordered.note:
            return replace(ordered, job_id=job.id)
        return replace(ordered, note="ordered")

    async def _order(self, make: Callable[[], Awaitable[Job]], choice: Choice, **options: Any) -> Ordered:
        """Pick for the job that `make` creates or finds; if the pick is refused, delete that job."""
        while True:
            new = await make()
            ordered = await self.pick(new, *choice, **options)
            if ordered.over or ordered.note in (NOT_OFFERED_TEXT, DEARER_TEXT):
                # unless another tap, for example an admin's, has picked for this job meanwhile
                await self.store.forget(new.id, only_in=JobState.CHOOSING)
                return ordered
            if await self.store.get(new.id):
                return ordered
            # another tap, whose pick was refused, has just deleted the job

    async def choose_again(self, job: Job, tapped: Tapped = _UNKNOWN) -> Job:
        """Return a new job for the song of a job that has ended; it waits for the choice of an instrument."""
        return await self._new(job, f"choose:{job.id}", _chosen_at, tapped)

    async def resend(self, job: Job, tapped: Tapped = _UNKNOWN) -> Ordered:
        """Send all stems of a delivered job again, from Telegram's copies."""
        sent = await self.store.sent(job.id)
        stems = [CachedStem(key, it.kind, it.file_id, it.title) for key, it in sent.items() if it.file_id]
        if job.result is None or job.mode is None or not stems:
            return Ordered(job.id, "tap.too_late")
        named = tuple(stem for stem in job.result.stems if stem.key in sent)
        new = await self._new(job, f"resend:{job.id}", _ended_at, tapped)
        cached = CachedStems(Result(200, named), tuple(stems))
        await self._deliver_cached(new, job.mode, job.instrument, job.file_format, cached)
        return Ordered(new.id, "ordered")

    async def fetch_again(self, job: Job) -> Ordered:
        """Fetch and send the missing stems of a job, at no cost."""
        if job.state is JobState.DELIVERING:
            return Ordered(job.id)
        if not (job.missing or job.is_undelivered):
            return Ordered(job.id, "tap.too_late")
        if await self.store.deliver_again(job.id):
            log.info("job %s: its stems are fetched again", job.id)
            await self.engine.add(Task.DELIVER, job.id, job.id)
        return Ordered(job.id)

    async def cancel(self, job: Job, by: str = "") -> bool:
        """Cancel a job that has no result yet. False: it is too late. `by`: see `Job.cancelled_by`."""
        # a tap that is handled again finds the job that it cancelled
        if job.state is not JobState.CANCELLED and not await self.store.cancel(job.id, by):
            return False
        log.info("job %s: cancelled by its user", job.id)
        await self.account_queue.next(job.account)
        return True

    async def resume(self, job: Job) -> Ordered:
        """Resume a cancelled job at its call or result, which are paid for, or else at the choice of mode."""
        state = await self.store.resume(job.id)
        log.info("job %s: its user takes it up again: %s", job.id, state)
        if state in (JobState.SUBMITTING, JobState.DELIVERING):
            task = Task.SUBMIT if state is JobState.SUBMITTING else Task.DELIVER
            await self.engine.add(task, job.id, job.id)
        return Ordered(job.id)

    async def _deliver_cached(
        self,
        job: Job,
        mode: Mode,
        instrument: str,
        file_format: str,
        cached: CachedStems,
        starts_at: float = 0,
    ) -> None:
        moved = await self.store.move(
            job.id,
            [JobState.CHOOSING],
            JobState.DELIVERING,
            starts_at=starts_at,
            mode=mode,
            instrument=instrument,
            file_format=file_format,
            result=cached.result,
            cached=cached.stems,
            facts=cached.facts,
            picked_at=self.clock(),
        )
        if moved:
            log.info("job %s: %s %s, kept by Telegram", job.id, mode, instrument)
            await self.engine.add(Task.DELIVER, job.id, job.id)

    async def _new(
        self,
        job: Job,
        once: str,
        over_at: Callable[[Job], float],
        tapped: Tapped = _UNKNOWN,
        *,
        message_id: int = 0,
    ) -> Job:
        """Create a job for the same song, or return the job that `once` made if the tap means that one.

        `over_at` returns when a job stopped being what the tap asks for (Unix seconds; infinity: not yet): a
        later tap means a new job.
        """
        new = replace(job.again(), ordered_by=tapped.id, message_id=message_id)
        number = 0
        while True:
            made = await self.store.get(await self.store.add(new, once=f"{once}:{number}"))
            if made and (made.ordered_by == tapped.id != "" or self._is_same_wish(tapped, over_at(made))):
                return made
            number += 1

    def _is_same_wish(self, tapped: Tapped, over_at: float) -> bool:
        return over_at == math.inf or self.is_before(tapped, over_at)

    def is_before(self, tapped: Tapped, moment: float) -> bool:
        """Whether the tap was received before a moment that a job notes.

        A time in the future is of the time before a clock was set back, and so before any other.
        """
        latest = self.clock() + CLOCK_SKEW_S
        return tapped.at < moment and (moment <= latest or tapped.at > latest)


def _ended_at(job: Job) -> float:
    return job.moved_at if job.state in FINAL else math.inf


def _cancelled_at(job: Job) -> float:
    return job.moved_at if job.state is JobState.CANCELLED else math.inf


def _chosen_at(job: Job) -> float:
    return math.inf if job.state is JobState.CHOOSING else job.picked_at or job.moved_at
