"""The task RENDER: makes a remix, or a practice pack, of a delivered job and sends it.

Each order is carried out at least once: a run sends what is not recorded as sent, and records each message
and album. A remix costs no credits.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from telegram.error import TelegramError

from stemdrop.chat.rendering import short_title
from stemdrop.chat.translations import Translations
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.recipes import OPEN_REMIXES, RemixState
from stemdrop.errors import DeliveryOverridden, StoreUnavailable, TryLater
from stemdrop.log_context import bind_job
from stemdrop.observability.metric_definitions import RENDERS
from stemdrop.services.disk_space import WORKER_MIN_FREE_BYTES, temp_folder
from stemdrop.storage.counters import Counters
from stemdrop.storage.dead_letters import DeadLetters
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.remixes import Remixes
from stemdrop.tasks.engine import Task
from stemdrop.tasks.owner_limits import OwnerLimits, account_is_busy
from worker.audio.formats import NotAudio
from worker.chat_errors import ChatClosed, Limited, chat_errors, uncounted
from worker.measuring import Measuring
from worker.remix_files import Progress, RemixFiles, RemixMaker
from worker.remix_sender import ZIP, RemixSender
from worker.render_message import RenderMessage
from worker.render_order import RenderOrder
from worker.stems.downloader import RUNS_THAT_WAIT

log = logging.getLogger(__name__)

# Orders whose stems or remixes one process has on disk at once; the process renders one after the other.
RENDERS_ON_DISK = 8
RENDERS_PER_USER = 1
# With pauses of up to five minutes between runs this is an hour.
MAX_RENDER_RUNS = 20
# How often a run looks whether its order was cancelled, and the shortest time between two progress updates.
WATCH_ORDER_EVERY_S = 1.0
SHOW_EVERY_S = 5.0
_STEPS = 4  # progress is shown in quarters
_WHAT = "a remix of a job's stems"

Made = TypeVar("Made")


@dataclass(kw_only=True)
class Renders:
    """Handles orders of remixes; one object serves all renders of a process."""

    store: JobStore
    remixes: Remixes
    dead_letters: DeadLetters
    maker: RemixMaker
    sender: RemixSender
    message: RenderMessage
    measuring: Measuring
    translations: Translations
    counters: Counters
    _owner_limits: OwnerLimits[int] = field(
        init=False, default_factory=lambda: OwnerLimits[int](RENDERS_PER_USER, account_is_busy)
    )

    async def run(self, remix_id: str) -> None:
        """Make and send the remix unless that is done. Idempotent. Raises `TryLater`."""
        order = await self._read(remix_id)
        if order is None:
            return
        if order.remix.state in OPEN_REMIXES:
            with self._owner_limits.of(order.remix.user_id):
                await self._run(order)
        else:  # the run that ended the order may have died before it showed the end
            await self._show_end(order)

    async def give_up(self, remix_id: str) -> None:
        """End an order that has killed its workers."""
        order = await self._read(remix_id)
        if order and order.remix.state in OPEN_REMIXES:
            await self._give_up(order, "its workers died")

    async def _read(self, remix_id: str) -> RenderOrder | None:
        remix = await self.remixes.get(remix_id)
        if remix is None:
            return None
        job = await self.store.get(remix.job_id)
        if job is None:
            log.info("job %s: a remix of it ends, since it was deleted", remix.job_id)
            await self.remixes.move(remix, RemixState.FAILED)
            return None
        bind_job(job.id, job.task_id)
        return RenderOrder(remix, job, self.translations.language(remix.language))

    async def _run(self, order: RenderOrder) -> None:
        if self._is_sent(order, await self.remixes.sent(order.remix.id)):
            await self._finish(order, "sent")
            return
        run = await self.remixes.begin(order.remix)
        if run is None:
            await self._show_end(order)
            return
        order.token, order.run = run.token, run.number
        if run.number > MAX_RENDER_RUNS:
            await self._give_up(order, f"after {MAX_RENDER_RUNS} runs")
            return
        try:
            async with chat_errors(order.job, self.store, run.number):
                await self._make_and_send(order)
        except ChatClosed as error:
            log.info("job %s: its chat does not take a remix: %s", order.job.id, error)
            await self._refuse(order, error)
        except DeliveryOverridden:
            await self._show_end(order)
        except (Limited, asyncio.CancelledError):
            # a process that stops cancels its runs
            with suppress(StoreUnavailable):
                await self.remixes.uncount(order.remix.id, order.token)
            raise

    def _is_sent(self, order: RenderOrder, sent: Mapping[str, Sent]) -> bool:
        return ZIP in sent or all(str(number) in sent for number in range(len(order.recipes)))

    async def _make_and_send(self, order: RenderOrder) -> None:
        if order.lacks_beats:
            try:
                order.job = await self.measuring.measure(order.job)
            except (TelegramError, httpx.HTTPError, TryLater):
                if order.run <= RUNS_THAT_WAIT:
                    raise
                log.info("job %s: a remix of it gets no clicks, since it cannot be measured", order.job.id)
        known = await self.remixes.sent(order.remix.id)
        waiting = {number: it for number, it in enumerate(order.recipes) if str(number) not in known}
        cached = await self.sender.cached(order, waiting)
        if ZIP in cached or len(cached) == len(waiting):
            await self._send(order, RemixFiles(), cached)
            return
        must_wait = self.maker.is_busy
        await self.message.begin(order, must_wait=must_wait)
        recipes = {number: it for number, it in waiting.items() if str(number) not in cached}
        sent, progress = await self.store.sent(order.job.id), Progress(len(recipes))
        with temp_folder(WORKER_MIN_FREE_BYTES) as folder:
            making = self.maker.make(order, recipes, sent, folder, progress)
            try:
                made = await self._unless_ended(order, making, progress, must_wait)
            except NotAudio as error:
                await self._give_up(order, f"its stems cannot be mixed: {error}")
                return
            await self._send(order, made, cached)

    async def _send(self, order: RenderOrder, made: RemixFiles, cached: Mapping[str, Sent]) -> None:
        translate = order.translate
        if not (made.files or cached or made.too_big):
            log.info("job %s: nothing of its remix can be heard, missing: %s", order.job.id, made.missing)
            key, title = "pack.nothing", short_title(order.job, translate)
            if made.is_silent:
                key, title = "remix.silent", order.name
            await self._finish(order, "nothing", translate(key, title=title))
            return
        notes = await self.sender.send(order, made, cached)
        arrived = await self.remixes.sent(order.remix.id)
        outcome = "nothing" if made.too_big else "refused"
        if arrived:
            outcome = "sent" if made.files else "cached"
        await self._finish(order, outcome, "\n\n".join(notes))

    async def _finish(self, order: RenderOrder, outcome: str, text: str = "") -> None:
        """End the order: remove its message, or write `text` into it, about files that did not come."""
        with suppress(ChatClosed):
            async with chat_errors(order.job, self.store, run=1):
                await uncounted(self.message.end(order, text, can_change=True))
        ended = RemixState.SENT if outcome in ("sent", "cached") else RemixState.FAILED
        if await self.remixes.move(order.remix, ended):
            self.counters.add(RENDERS, outcome)
            log.info("job %s: remix %s ended: %s", order.job.id, order.remix.id, outcome)
        await self.dead_letters.drop(_dead_letter_key(order))

    async def _unless_ended(
        self, order: RenderOrder, making: Coroutine[Any, Any, Made], progress: Progress, must_wait: bool
    ) -> Made:
        """Await `making`. Raises `DeliveryOverridden` once the order is cancelled or another run has it."""
        running, stop = asyncio.create_task(making), asyncio.Event()
        watching = asyncio.create_task(self._watch(order, progress, must_wait, stop))
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return running.result()
            watching.result()
            raise DeliveryOverridden
        finally:
            running.cancel()
            # a cancellation during a Redis command may be lost
            stop.set()
            watching.cancel()
            await asyncio.gather(running, watching, return_exceptions=True)

    async def _watch(
        self, order: RenderOrder, progress: Progress, must_wait: bool, stop: asyncio.Event
    ) -> None:
        """Show the progress until `stop` is set; returns early if this run no longer owns the order."""
        now = asyncio.get_running_loop().time
        shown, shown_at = -1 if must_wait else 0, now()
        while not stop.is_set():
            await asyncio.sleep(WATCH_ORDER_EVERY_S)
            with suppress(StoreUnavailable):
                if not await self.remixes.is_rendered_by(order.remix.id, order.token):
                    return
            step = int(progress.share * _STEPS)
            if progress.share and step > shown and (must_wait or now() - shown_at >= SHOW_EVERY_S):
                await self.message.show_progress(order, step / _STEPS)
                shown, shown_at, must_wait = step, now(), False

    async def _show_end(self, order: RenderOrder) -> None:
        """Show that the order has ended, unless another run goes on with it."""
        current = await self.remixes.get(order.remix.id)
        if current and (current.state in OPEN_REMIXES or current.state is RemixState.FAILED):
            return
        is_cancelled = bool(current and current.state is RemixState.CANCELLED)
        text = order.translate("remix.cancelled", title=order.name) if is_cancelled else ""
        if is_cancelled:
            self.counters.add(RENDERS, "cancelled")
        if text and not order.message_id:
            return
        with suppress(ChatClosed):
            async with chat_errors(order.job, self.store, run=5):
                await self.message.end(order, text, can_change=True)

    async def _refuse(self, order: RenderOrder, error: ChatClosed) -> None:
        """Tell the user what to change in the chat so that a new order works, and fail the order."""
        if error.obstacle:
            await self._tell(order, f"{order.translate(f'here.{error.obstacle}')}\n🎚 {order.name}")
        await self._fail(order, "refused")

    async def _give_up(self, order: RenderOrder, why: str) -> None:
        """Fail the order, keep a dead letter, and tell the user if possible."""
        log.error("job %s: remix %s given up: %s", order.job.id, order.remix.id, why)
        await self.dead_letters.add(_dead_letter_key(order), _WHAT, why)
        await self._tell(order, order.translate("remix.failed", title=order.name))
        await self._fail(order, "failed")

    async def _fail(self, order: RenderOrder, outcome: str) -> None:
        if await self.remixes.move(order.remix, RemixState.FAILED):
            self.counters.add(RENDERS, outcome)

    async def _tell(self, order: RenderOrder, text: str) -> None:
        try:
            await self.message.end(order, text, can_change=True)
        except (TelegramError, TryLater) as error:
            log.info("job %s: the end of its remix cannot be shown: %s", order.job.id, error)


def _dead_letter_key(order: RenderOrder) -> str:
    return f"{Task.RENDER}:{order.remix.id}"
