"""A button is pressed: the job moves, at most once however often it is tapped."""

import logging
from dataclasses import dataclass, replace

from telegram import CallbackQuery, Update
from telegram.error import BadRequest
from telegram.ext import CallbackContext

from stemdrop.buttons import Action, Tap
from stemdrop.engine import Engine, Task
from stemdrop.jobs import Job, JobState
from stemdrop.status import StatusMessage, render_instruments
from stemdrop.store import JobStore
from stemdrop.texts import Texts

log = logging.getLogger(__name__)

CANCELLABLE = (JobState.CHOOSING, JobState.SUBMITTING, JobState.SEPARATING)


@dataclass(frozen=True, slots=True)
class _Reaction:
    """Which job's message to show, and the key of what the tapper is told beside it."""

    job_id: str
    note: str | None = None


class Menu:
    """The handler for every button."""

    def __init__(self, store: JobStore, engine: Engine, status: StatusMessage, texts: Texts) -> None:
        self._store = store
        self._engine = engine
        self._status = status
        self._texts = texts

    async def tap(self, update: Update, _context: CallbackContext) -> None:  # type: ignore[type-arg]
        """Do what the button means; the query is always answered, or the button would spin."""
        query = update.callback_query
        if query is None:
            return
        say = self._texts.language(query.from_user.language_code)
        tap = Tap.from_data(query.data or "")
        job = await self._store.get(tap.job_id) if tap else None
        if tap is None or job is None:
            await _answer(query, say("tap.stale"))
        elif job.user_id and query.from_user.id != job.user_id:
            await _answer(query, say("tap.not_yours"))
        else:
            reaction = await self._act(tap, job)
            # first, since editing the message may have to wait for Telegram's limits
            await _answer(query, say(reaction.note) if reaction.note else None)
            await self._show(tap, reaction.job_id)

    async def _act(self, tap: Tap, job: Job) -> "_Reaction":
        match tap.action:
            case Action.PICK:
                return await self._pick(tap, job)
            case Action.INSTRUMENTS | Action.BACK:
                return _Reaction(job.id)
            case Action.CANCEL:
                # a tap that is handled again, after a bad moment, finds its own work done
                is_done = job.state is JobState.CANCELLED or await cancel(job, self._store)
                return _Reaction(job.id, None if is_done else "tap.too_late")
            case Action.RETRY:
                return await self._retry(job)
            case Action.FETCH_AGAIN:
                return await self._fetch_again(job)

    async def _show(self, tap: Tap, job_id: str) -> None:
        job = await self._store.get(job_id)
        if job and tap.action is Action.INSTRUMENTS and job.state is JobState.CHOOSING:
            await self._status.write(job, *render_instruments(job, self._texts.language(job.language)))
        elif job:
            await self._status.show(job)
        if job:
            await self._status.catch_up(job)

    async def _pick(self, tap: Tap, job: Job) -> "_Reaction":
        changes = {"mode": tap.mode, "instrument": tap.instrument}
        if await self._store.move(job.id, [JobState.CHOOSING], JobState.SUBMITTING, **changes):
            log.info("job %s: %s %s", job.id, tap.mode, tap.instrument)
            await self._engine.add(Task.SUBMIT, job.id, job.id)
        # of two taps the second only shows again where the job is
        return _Reaction(job.id)

    async def _retry(self, job: Job) -> "_Reaction":
        if job.state is not JobState.FAILED:
            return _Reaction(job.id, "tap.too_late")
        new = replace(
            Job(job.id, job.chat_id, job.user_id, job.source_message_id, job.source),
            id=Job.new_id(),
            language=job.language,
            topic_id=job.topic_id,
            message_id=job.message_id,
            state=JobState.SUBMITTING,
            mode=job.mode,
            instrument=job.instrument,
        )
        winner = await self._store.retry(job, new)
        if winner == new.id:
            log.info("job %s: tried again as job %s", job.id, new.id)
            await self._engine.add(Task.SUBMIT, new.id, new.id)
        return _Reaction(winner, "retried")

    async def _fetch_again(self, job: Job) -> "_Reaction":
        if job.state is JobState.DELIVERING:
            return _Reaction(job.id)
        if not (job.missing or job.is_undelivered):
            return _Reaction(job.id, "tap.too_late")
        if await self._store.deliver_again(job.id):
            log.info("job %s: its stems are fetched again", job.id)
            await self._engine.add(Task.DELIVER, job.id, job.id)
        return _Reaction(job.id)


async def cancel(job: Job, store: JobStore) -> bool:
    """Cancel a job that has no result yet; False when it is too late."""
    if not await store.move(job.id, CANCELLABLE, JobState.CANCELLED):
        return False
    log.info("job %s: cancelled by its user", job.id)
    return True


async def _answer(query: CallbackQuery, text: str | None) -> None:
    try:
        await query.answer(text)
    except BadRequest as error:  # too old, after a restart: what the tap meant was still done
        log.debug("a tap was answered too late: %s", error)
