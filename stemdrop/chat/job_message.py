"""`JobMessage`: the one message of a job in its chat. The process that moved a job shows its new state."""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from telegram import InlineKeyboardMarkup
from telegram.error import BadRequest, ChatMigrated
from telegram.ext import ExtBot

from stemdrop.chat.rendering import Details, Rendered, render, short_title
from stemdrop.chat.replies import send_in_topic
from stemdrop.chat.translations import Translations
from stemdrop.domain.jobs import FINAL, Job, JobState
from stemdrop.storage.job_statistics import JobStatistics
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.stem_cache import StemCache

log = logging.getLogger(__name__)


@dataclass
class JobMessage:
    """Shows jobs in their chats. Raises `TelegramError`, `TryLater` or `StoreUnavailable`."""

    bot: ExtBot[float]
    store: JobStore
    stem_cache: StemCache
    job_statistics: JobStatistics
    translations: Translations
    clock: Callable[[], float] = time.time

    async def show(self, job: Job, patience_s: float | None = None) -> None:
        """Show the state of `job` within `patience_s`, and close it if it has ended. Idempotent."""
        await self.edit_or_send(job, *await self.render(job), patience_s)
        if job.state in FINAL:
            await self.store.close(job.id)

    async def render(self, job: Job) -> Rendered:
        say = self.translations.language(job.language)
        return render(job, say, await self.details(job))

    async def show_if_changed(self, job: Job, patience_s: float) -> bool:
        """Write the job's message again if its text has changed. False: it has not."""
        text, keyboard = await self.render(job)
        if job.message_id and _digest(text) == job.shown_as:
            return False
        await self.edit_or_send(job, text, keyboard, patience_s)
        return True

    async def details(self, job: Job) -> Details:
        """Read what the job's message shows in this state beside the job itself."""
        match job.state:
            case JobState.CHOOSING:
                free = await self.stem_cache.free(job.source)
                return Details(free=free, instruments=await self.job_statistics.instruments())
            case JobState.QUEUED:
                return Details(place=await self.store.place(job))
            case JobState.SUBMITTING:
                return Details(can_ask_again=job.can_ask_again(self.clock()))
            case JobState.SEPARATING:
                estimate = await self.job_statistics.estimate(job.mode) if job.mode else None
                return Details(
                    elapsed_s=self.clock() - (job.create_started_at or job.moved_at), estimate=estimate
                )
            case JobState.DELIVERED:
                delivered = len(await self.store.sent(job.id))
                return Details(delivered=delivered, free=await self.stem_cache.free(job.source))
            case JobState.FAILED:
                return Details(free=await self.stem_cache.free(job.source))
        return Details()

    async def show_newer_state(self, job: Job, patience_s: float | None = None) -> None:
        """Show what happened to the job while its message was written: the mover may have been earlier."""
        while (current := await self.store.get(job.id)) and current.state is not job.state:
            job = current
            await self.show(job, patience_s)
        if current is None:
            await self.show_deleted(job, patience_s)

    async def show_deleted(self, job: Job, patience_s: float | None = None) -> None:
        if job.message_id:
            say = self.translations.language(job.language)
            await self._edit(job, say("state.deleted", title=short_title(job, say)), None, patience_s)

    async def show_current(self, job_id: str) -> None:
        if job := await self.store.get(job_id):
            await self.show(job)
            await self.show_newer_state(job)

    async def edit_or_send(
        self, job: Job, text: str, keyboard: InlineKeyboardMarkup | None, patience_s: float | None = None
    ) -> None:
        """Edit the job's message, or send it once. Raises `TryLater` while another process sends it."""
        try:
            await self._edit_else_send(job, text, keyboard, patience_s)
        except ChatMigrated as error:
            job = await self.store.migrate(job, error.new_chat_id)
            await self._edit_else_send(job, text, keyboard, patience_s)
        await self.store.set(job.id, shown_at=self.clock(), shown_as=_digest(text))

    async def _edit_else_send(
        self, job: Job, text: str, keyboard: InlineKeyboardMarkup | None, patience_s: float | None
    ) -> None:
        if not (job.message_id and await self._edit(job, text, keyboard, patience_s)):
            await self._send(job, text, keyboard, patience_s)

    async def _edit(
        self, job: Job, text: str, keyboard: InlineKeyboardMarkup | None, patience_s: float | None
    ) -> bool:
        """Edit the message. False: it is gone."""
        try:
            await self.bot.edit_message_text(
                text,
                chat_id=job.chat_id,
                message_id=job.message_id,
                reply_markup=keyboard,
                rate_limit_args=patience_s,
            )
        except BadRequest as error:
            if is_message_gone(error):
                return False
            if "not modified" not in str(error).lower():
                raise
        return True

    async def _send(
        self, job: Job, text: str, keyboard: InlineKeyboardMarkup | None, patience_s: float | None
    ) -> None:
        async with self.store.sending(job.id):
            known = await self.store.get(job.id)
            has_come = known is not None and known.message_id != job.message_id
            if known and has_come and await self._edit(known, text, keyboard, patience_s):
                return
            message = await send_in_topic(
                job,
                lambda topic_id, reply: self.bot.send_message(
                    job.chat_id,
                    text,
                    message_thread_id=topic_id,
                    reply_parameters=reply,
                    reply_markup=keyboard,
                    rate_limit_args=patience_s,
                ),
            )
            await self.store.set(job.id, message_id=message.message_id)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_message_gone(error: BadRequest) -> bool:
    """Whether the bot's own message was deleted or can no longer be edited."""
    words = str(error).lower()
    return "message to edit not found" in words or "can't be edited" in words or "message_id_invalid" in words
