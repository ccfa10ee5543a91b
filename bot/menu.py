"""The buttons of a job's message: each moves the job at most once however often it is tapped."""

import logging
from dataclasses import dataclass, replace
from typing import Any

from telegram import CallbackQuery, Update
from telegram.constants import ChatType
from telegram.error import TelegramError

from bot.access import is_administrator
from bot.chat_rights import ChatRights
from bot.context import Context
from bot.replies import answer_tap
from stemdrop.chat.callback_data import Action, Tap
from stemdrop.chat.instrument_rendering import render_instruments
from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.limit_rendering import render_over_limit
from stemdrop.chat.translations import Language, Translations
from stemdrop.domain.jobs import FINAL, Job, JobState
from stemdrop.domain.taps import Ordered, Tapped
from stemdrop.errors import TryLater
from stemdrop.log_context import bind_job
from stemdrop.services.orders import Orders
from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Engine, Task
from stemdrop.tasks.incoming_updates import received_at

log = logging.getLogger(__name__)

# The actions that lead to stems in the chat, so the bot's rights there are checked first.
_ORDERS = (Action.PICK, Action.START, Action.OTHER_MODE, Action.RETRY, Action.RESUME, Action.FETCH_AGAIN)


@dataclass(frozen=True)
class Menu:
    """The handler for every button of a job."""

    store: JobStore
    engine: Engine
    orders: Orders
    job_message: JobMessage
    translations: Translations
    rights: ChatRights

    async def tap(self, update: Update, context: Context) -> None:
        """Do what the button says; the tap is always answered, or the button would spin."""
        query, translate = update.callback_query, context.translate
        if query is None:
            return
        tap = Tap.from_data(query.data or "")
        job = await self.store.get(tap.job_id) if tap else None
        if job:
            bind_job(job.id, job.task_id)
        if tap is None or job is None:
            await answer_tap(query, translate("tap.stale"))
        elif not await may_choose(query, job):
            await answer_tap(query, translate("tap.not_yours"))
        elif job := await self._claim(job, query, translate):
            ordered = await self._act(tap, job, Tapped(query.id, received_at(update)))
            await self._answer(query, translate, tap, job, ordered)
            await self._show(tap, ordered)
        else:
            await answer_tap(query, translate("tap.not_yours"))

    async def _claim(self, job: Job, query: CallbackQuery, translate: Language) -> Job | None:
        """Return the job with the tapper as its owner; `None` if another user was first."""
        changes: dict[str, Any] = {}
        if not job.user_id:
            if not await self.store.claim(job, query.from_user.id):
                return None
            changes |= {"user_id": query.from_user.id, "account": query.from_user.id}
        if query.message and not job.message_id:
            # a process that died after sending the message did not store its number, which is this message's
            changes["message_id"] = query.message.message_id
        if job.language != translate.code:
            changes["language"] = translate.code
        if changes:
            await self.store.set(job.id, **changes)
        return replace(job, **changes)

    async def _answer(
        self, query: CallbackQuery, translate: Language, tap: Tap, job: Job, ordered: Ordered
    ) -> None:
        """Answer the tap, before its message is edited, which may have to wait for Telegram's limits."""
        try:
            if ordered.over:
                await answer_tap(query, render_over_limit(translate, ordered.over), is_alert=True)
            else:
                await answer_tap(query, translate(ordered.note) if ordered.note else None)
        except (TelegramError, TryLater) as error:  # what it asked for is done, and must not be done again
            log.warning("job %s: a tap could not be answered: %s", job.id, error)

    async def _act(self, tap: Tap, job: Job, tapped: Tapped) -> Ordered:
        if tap.action in _ORDERS and (obstacle := await self.rights.obstacle(job.chat_id)):
            return Ordered(job.id, f"here.{obstacle}")
        match tap.action:
            case Action.PICK if tap.mode:
                return await self.orders.pick(job, tap.mode, tap.instrument, at_most=tap.credits)
            case Action.START if job.mode and job.starts_at:
                return await self.orders.pick(
                    job, job.mode, job.instrument, starts_at=job.starts_at, at_most=tap.credits
                )
            case Action.UNDO:
                return await self.orders.undo(job)
            case Action.OTHER_MODE if tap.mode:
                return await self.orders.other_mode(job, tap.mode, tap.instrument, tapped, tap.credits)
            case Action.INSTRUMENTS if job.state in FINAL and not self.orders.is_before(tapped, job.moved_at):
                return Ordered((await self.orders.choose_again(job, tapped)).id)
            case Action.CANCEL:
                return Ordered(job.id, None if await self.orders.cancel(job) else "tap.too_late")
            case Action.RESUME:
                return await self.orders.resume(job)
            case Action.RETRY:
                return await self.orders.retry(job, at_most=tap.credits)
            case Action.ASK_AGAIN:
                return await self.orders.ask_again(job, tapped, at_most=tap.credits)
            case Action.FETCH_AGAIN:
                return await self.orders.fetch_again(job)
            case Action.ZIP | Action.SMALL:
                await self.engine.add(Task.PACK, f"{job.id}:{tap.action}", f"{job.id}:{tap.action}")
                return Ordered("", "pack.working")  # its message stays as it is
        return Ordered(job.id)

    async def _show(self, tap: Tap, ordered: Ordered) -> None:
        job = await self.store.get(ordered.job_id) if ordered.job_id else None
        if job is None:
            return
        translate = self.translations.language(job.language)
        text, keyboard = await self.job_message.render(job)
        if tap.action is Action.INSTRUMENTS and job.state is JobState.CHOOSING:
            text, keyboard = render_instruments(
                job, translate, tap.page, await self.job_message.instrument_details(job)
            )
        elif ordered.over and job.state is JobState.CHOOSING:
            # also in the message, since the answer to the tap vanishes
            text = f"{text}\n\n{render_over_limit(translate, ordered.over)}"
        await self.job_message.edit_or_send(job, text, keyboard)
        if job.state in FINAL:
            await self.store.close(job.id)
        await self.job_message.show_newer_state(job)


async def may_choose(query: CallbackQuery, job: Job) -> bool:
    """Return whether the tapper owns the job, or may choose for a job that has no owner yet.

    Every member of a chat may choose for such a job, in channels only administrators.
    """
    if job.user_id:
        return query.from_user.id == job.user_id
    chat = query.message.chat if query.message else None
    return chat is None or chat.type != ChatType.CHANNEL or await is_administrator(chat, query.from_user.id)
