"""`JobMessage`: the one message of a job in its chat. The process that moved a job shows its new state."""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from telegram import InlineKeyboardMarkup
from telegram.error import ChatMigrated
from telegram.ext import ExtBot

from stemdrop.chat.reactions import Reactions
from stemdrop.chat.rendering import Details, Rendered, render, short_title
from stemdrop.chat.replies import delete_or_shorten, edit_text, send_text
from stemdrop.chat.translations import Translations
from stemdrop.domain.abilities import Abilities
from stemdrop.domain.jobs import FINAL, Choice, Job, JobState
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.job_statistics import JobStatistics
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.stem_cache import StemCache
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)


@dataclass
class JobMessage:
    """Shows jobs in their chats. Raises `TelegramError`, `TryLater` or `StoreUnavailable`."""

    bot: ExtBot[float]
    store: JobStore
    stem_cache: StemCache
    job_statistics: JobStatistics
    translations: Translations
    abilities: AbilitiesCache
    clock: Callable[[], float] = time.time
    reactions: Reactions | None = None
    users: Users | None = None
    mixer_url: str = ""  # empty if Telegram would refuse the mixer's button

    async def show(self, job: Job, patience_s: float | None = None) -> None:
        """Show the state of `job` within `patience_s`, and close it if it has ended. Idempotent."""
        details = await self.details(job)
        text, keyboard = render(job, self.translations.language(job.language), details)
        await self.edit_or_send(job, text, keyboard, patience_s, stems=details.delivered)
        if self.reactions:
            self.reactions.show(job)
        if job.state in FINAL:
            await self.store.close(job.id)
        if job.state is JobState.FAILED and (again := (await self.store.history(job.id)).retried_as):
            await self.show_current(again)  # tried again meanwhile: the message belongs to the new job

    async def render(self, job: Job) -> Rendered:
        translate = self.translations.language(job.language)
        return render(job, translate, await self.details(job))

    async def show_if_changed(self, job: Job, patience_s: float) -> bool:
        """Write the job's message again if its text or buttons have changed; returns whether they have."""
        text, keyboard = await self.render(job)
        if _is_shown(job, text, keyboard):
            return False
        await self.edit_or_send(job, text, keyboard, patience_s)
        return True

    async def details(self, job: Job) -> Details:
        """Read what the job's message shows in this state beside the job itself."""
        abilities = await self.abilities.get(job.source.duration_s, job.asked_before)
        return replace(await self._details(job, abilities), abilities=abilities)

    async def instrument_details(self, job: Job) -> Details:
        """Read what the list of instruments shows, the most often picked instruments first."""
        return replace(await self.details(job), instruments=await self.job_statistics.instruments())

    async def _details(self, job: Job, abilities: Abilities) -> Details:
        match job.state:
            case JobState.CHOOSING:
                details = Details(free=await self._free(job, abilities))
                if not (self.users and job.user_id):
                    return details
                return replace(details, usual=await self.users.usual(job.user_id))
            case JobState.QUEUED:
                return Details(place=await self.store.place(job))
            case JobState.SUBMITTING | JobState.SEPARATING:
                began_at = job.create_started_at if job.state is JobState.SEPARATING else 0
                return Details(
                    elapsed_s=self.clock() - (began_at or job.moved_at),
                    estimate=await self.job_statistics.estimate(job.mode) if job.mode else None,
                    can_ask_again=job.can_ask_again(self.clock()),
                )
            case JobState.DELIVERED:
                sent = await self.store.sent(job.id)
                # Telegram takes MP3 as music and lossless files as documents
                mp3 = frozenset(key for key, stem in sent.items() if job.is_lossless and stem.kind == "audio")
                # Telegram opens pages of a bot only in private chats
                mixer_url = f"{self.mixer_url}?job={job.id}" if self.mixer_url and job.chat_id > 0 else ""
                free = await self._free(job, abilities)
                return Details(delivered=len(sent), mp3=mp3, free=free, mixer_url=mixer_url)
            case JobState.FAILED:
                return Details(free=await self._free(job, abilities))
        return Details()

    async def _free(self, job: Job, abilities: Abilities) -> frozenset[Choice]:
        """Return the choices that cost nothing in the format that the user wants now."""
        wanted = self.users.file_format(job, abilities) if self.users else None
        return await self.stem_cache.free(job.source, await wanted if wanted else abilities.file_format(""))

    async def show_newer_state(self, job: Job, patience_s: float | None = None) -> None:
        """Show the newest state of the job, if it has moved while its message was being written."""
        while (current := await self.store.get(job.id)) and _is_newer(current, job):
            job = current
            if job.state in FINAL or not _is_shown(job, *await self.render(job)):
                await self.show(job, patience_s)
        if current is None:
            await self.show_deleted(job, patience_s)

    async def show_deleted(self, job: Job, patience_s: float | None = None) -> None:
        if job.message_id:
            translate = self.translations.language(job.language)
            await self._edit(
                job, translate("state.deleted", title=short_title(job, translate)), None, patience_s
            )

    async def show_current(self, job_id: str) -> None:
        if job := await self.store.get(job_id):
            await self.show(job)
            await self.show_newer_state(job)

    async def edit_or_send(
        self,
        job: Job,
        text: str,
        keyboard: InlineKeyboardMarkup | None,
        patience_s: float | None = None,
        *,
        stems: int | None = None,
    ) -> None:
        """Edit the job's message, or send it once; a result below its stems, which replaces the old message.

        `stems` is how many stems of a delivered job are in the chat; it is read unless given. Raises
        `TryLater` while another process sends the message. Cached stems come at once, without such a message.
        """
        if job.state is JobState.DELIVERING and job.cached and not job.message_id:
            return
        if stems is None:
            stems = len(await self.store.sent(job.id)) if job.state is JobState.DELIVERED else 0
        try:
            shown = await self._edit_else_send(job, stems, text, keyboard, patience_s)
        except ChatMigrated as error:
            job = await self.store.migrate(job, error.new_chat_id)
            shown = await self._edit_else_send(job, stems, text, keyboard, patience_s)
        if shown.replaced_message_id:
            await self._delete_replaced(shown, text, patience_s)

    async def _edit_else_send(
        self, job: Job, stems: int, text: str, keyboard: InlineKeyboardMarkup | None, patience_s: float | None
    ) -> Job:
        if _is_below(job, stems) and await self._edit(job, text, keyboard, patience_s):
            await self.store.set(job.id, **self._shown(text, keyboard))
            return job
        return await self._send(job, stems, text, keyboard, patience_s)

    async def _edit(
        self, job: Job, text: str, keyboard: InlineKeyboardMarkup | None, patience_s: float | None
    ) -> bool:
        return await edit_text(self.bot, job.chat_id, job.message_id, text, keyboard, patience_s)

    async def _send(
        self, job: Job, stems: int, text: str, keyboard: InlineKeyboardMarkup | None, patience_s: float | None
    ) -> Job:
        async with self.store.sending(job.id):
            known = await self.store.get(job.id) or job
            has_come = known.message_id != job.message_id and _is_below(known, stems)
            if known.message_id != job.message_id and known.state is not job.state:
                return known  # the process that moved the job shows its state
            if job.state is JobState.FAILED and (await self.store.history(job.id)).retried_as:
                return known  # the message belonged to the new job, whose result has replaced it
            if has_come and await self._edit(known, text, keyboard, patience_s):
                await self.store.set(job.id, **self._shown(text, keyboard))
                return known
            message = await send_text(self.bot, job, text, keyboard, patience_s)
            number = message.message_id
            # stored in one step: if this process dies now, the next run deletes the message above the stems
            replaced = known.replaced_message_id if _is_below(known, stems) else known.message_id
            place: dict[str, Any] = {
                "message_id": number,
                "stems_above": stems,
                "replaced_message_id": replaced,
            }
            await self.store.set(job.id, **place, **self._shown(text, keyboard))
            return replace(known, **place)

    def _shown(self, text: str, keyboard: InlineKeyboardMarkup | None) -> dict[str, Any]:
        return {"shown_at": self.clock(), "shown_as": _digest(text, keyboard)}

    async def _delete_replaced(self, job: Job, text: str, patience_s: float | None) -> None:
        """Delete the message above the stems; one that can no longer be deleted becomes one line."""
        number, line = job.replaced_message_id, text.partition("\n")[0]
        await delete_or_shorten(self.bot, job.chat_id, number, line, patience_s)
        await self.store.set(job.id, replaced_message_id=0)


def _is_newer(current: Job, job: Job) -> bool:
    return (current.state, current.starts_at) != (job.state, job.starts_at)


def _is_below(job: Job, stems: int) -> bool:
    """Return whether the job has a message with at least `stems` stems above it: it can be edited."""
    return bool(job.message_id) and stems <= job.stems_above


def _is_shown(job: Job, text: str, keyboard: InlineKeyboardMarkup | None) -> bool:
    """Return whether the job's message shows this text and these buttons already."""
    return bool(job.message_id) and job.shown_as == _digest(text, keyboard)


def _digest(text: str, keyboard: InlineKeyboardMarkup | None) -> str:
    shown = f"{text}\n{keyboard.to_json() if keyboard else ''}"
    return hashlib.sha256(shown.encode()).hexdigest()[:16]
