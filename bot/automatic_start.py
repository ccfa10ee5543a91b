"""The task `START` splits a song without a tap; where that costs credits, ten seconds are left to undo it."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from telegram import Message
from telegram.error import BadRequest, TelegramError

from bot.job_actions import JobActions
from bot.sources import source_of
from stemdrop.chat.captions import choice_of
from stemdrop.chat.limit_rendering import render_over_limit
from stemdrop.chat.refusals import is_gone
from stemdrop.chat.rendering import UNDO_S
from stemdrop.chat.translations import Translations
from stemdrop.domain.jobs import Choice, Job, JobState, Mode
from stemdrop.domain.taps import DEARER_TEXT, NOT_OFFERED_TEXT
from stemdrop.errors import TryLater
from stemdrop.storage.heartbeats import BEAT_S, Heartbeats
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.users import Person

log = logging.getLogger(__name__)

# An *Undo* may wait at Telegram after a pause of the bot. So the seconds are counted anew when the task runs
# more than `LATE_S` late or the message is older than this process; after `TOO_LATE_S` the user is asked.
LATE_S = 2.0
TOO_LATE_S = 180.0
_AGAIN_S = 5.0
# If no webhook has sent a heartbeat for this time, a tap on *Undo* may not have been received.
_WEBHOOK_SILENT_S = 1.5 * BEAT_S


def wish_of(song: Message, person: Person) -> Choice | None:
    """Return how to split a song of a private chat without a tap; `None` if its sender is to be asked."""
    return caption_wish(song) or ((person.usual, "") if person.splits_at_once else None)


def caption_wish(song: Message) -> Choice | None:
    """Return how the caption says that its song is to be split; `None` if it does not say.

    Captions of forwarded songs do not count, since another person wrote them.
    """
    source = source_of(song)
    if source is None or not song.caption or song.forward_origin:
        return None
    return choice_of(song.caption, (source.title, source.performer))


@dataclass
class AutomaticStart:
    """Starts a job once, and not after its user has undone the start, chosen, cancelled or deleted the job.

    `webhooks` are the heartbeats of the processes that receive taps; `None` if this process polls for them.
    """

    store: JobStore
    actions: JobActions
    translations: Translations
    webhooks: Heartbeats | None = None
    clock: Callable[[], float] = time.time
    _began_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._began_at = self.clock()

    async def run(self, job_id: str) -> None:
        """Start a job when it is time, or ask its user where it cannot be started. Raises `TryLater`."""
        job = await self.store.get(job_id)
        if job is None or job.state is not JobState.CHOOSING or not job.starts_at or job.mode is None:
            return
        try:
            await self._run(job, job.mode)
        except TelegramError as error:
            if not (isinstance(error, BadRequest) or is_gone(error)):
                raise TryLater(_AGAIN_S, f"Telegram: {type(error).__name__}: {error}") from error
            log.info("job %s: it is not started, since its message cannot be shown: %s", job.id, error)
            await self.store.undo(job.id)

    async def _run(self, job: Job, mode: Mode) -> None:
        translate, now = self.translations.language(job.language), self.clock()
        details = await self.actions.job_message.details(job)
        if (mode, job.instrument) in details.free:
            await self._start(job, mode, at_most=0)
        elif not details.abilities.can(mode, job.instrument):
            await self._ask(job, translate(NOT_OFFERED_TEXT))
        elif not (price := details.abilities.price(mode, job.instrument)):
            await self._start(job, mode, at_most=0)
        elif now - max(job.shown_at, job.starts_at) > TOO_LATE_S or await self._is_deaf():
            await self._ask(job, translate("start.late"))
        elif over := await self.actions.orders.over_limit(job.account, price):
            await self._ask(job, render_over_limit(translate, over))
        else:
            await self._wait(job)
            await self._start(job, mode, at_most=price)

    async def _is_deaf(self) -> bool:
        """Return whether taps wait at Telegram because no webhook runs."""
        return self.webhooks is not None and not await self.webhooks.has("webhook", _WEBHOOK_SILENT_S)

    async def _wait(self, job: Job) -> None:
        """Return once the user has had the time to undo what the message says, with the current price.

        Raises `TryLater` until then.
        """
        now, message = self.clock(), self.actions.job_message
        self._began_at = min(self._began_at, now)  # the clock may have been set back
        late_s = now - job.shown_at - UNDO_S
        if job.message_id and job.shown_at >= self._began_at and -UNDO_S <= late_s <= LATE_S:
            if late_s < 0:
                raise TryLater(-late_s, "its user may undo it")
            if not await message.show_if_changed(job, UNDO_S):
                return
        else:
            await message.show(job)
        await message.show_newer_state(job)
        raise TryLater(UNDO_S, "its user may undo it")

    async def _start(self, job: Job, mode: Mode, *, at_most: int | None = None) -> None:
        """Start the job. Raises `TryLater` if it costs more than `at_most` now."""
        ordered = await self.actions.orders.pick(
            job, mode, job.instrument, starts_at=job.starts_at, at_most=at_most
        )
        if ordered.note == DEARER_TEXT:
            raise TryLater(0, "it costs more now")
        translate = self.translations.language(job.language)
        if ordered.over:
            await self._ask(job, render_over_limit(translate, ordered.over))
        elif ordered.note:
            await self._ask(job, translate(ordered.note))
        else:
            await self.actions.show([job])

    async def _ask(self, job: Job, why: str) -> None:
        """Show the menu, and below it the reason `why` the job was not started."""
        asked = replace(job, starts_at=0)
        text, keyboard = await self.actions.job_message.render(asked)
        await self.actions.job_message.edit_or_send(asked, f"{text}\n\n{why}", keyboard)
        await self.store.undo(job.id)
        await self.actions.job_message.show_newer_state(asked)
