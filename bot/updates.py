"""The task `UPDATE`: runs an update through the Application, and again while its failure may pass."""

import json
import logging
from dataclasses import dataclass, field
from typing import Any

from telegram import Update
from telegram.error import TelegramError
from telegram.ext import Application

from bot.errors import Apology, is_temporary
from stemdrop.chat.refusals import Refusal, classify
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.storage.dead_letters import DeadLetters
from stemdrop.tasks.engine import Task
from stemdrop.tasks.tracebacks import Tracebacks

log = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 30
# How often an update that fails is handled, over some five minutes, before it is given up.
MAX_TRIES = 12
# While the sender cannot be told of the failure, the update is handled for a day more, every five minutes.
UNTOLD_TRIES = 288
_UNTOLD_PAUSE_S = 300.0
_MESSAGES = ("message", "edited_message", "channel_post", "edited_channel_post")
_KINDS = ("audio", "voice", "video", "video_note", "document", "photo", "sticker", "text")


@dataclass
class UpdateHandler:
    """Runs the task `UPDATE`, which passes one update, as JSON, through the Application."""

    application: "Application[Any, Any, Any, Any, Any, Any]"
    dead_letters: DeadLetters
    apology: Apology
    _tracebacks: Tracebacks = field(init=False, default_factory=Tracebacks)

    async def run(self, update_json: str) -> None:
        """Handle an update; idempotent, as its handlers are.

        Raises `TryLater` when its failure may pass by itself. Its sender is told of any other failure, unless
        the chat takes no answer. An update that cannot be parsed, has failed too often, or whose sender could
        not be told becomes a dead letter.
        """
        data, update = json.loads(update_json), None
        try:
            update = Update.de_json(data, self.application.bot)
            await self.application.process_update(update)
        except Exception as error:  # a malformed update can make the library raise anything
            traceback = error if update else None
            log.error(
                "update %s cannot be parsed: %s", data["update_id"], _described(error), exc_info=traceback
            )
            await self._add_dead_letter(data, f"it cannot be parsed ({type(error).__name__})", is_told=False)
            return
        failure = self.application.bot_data.pop(update.update_id, None)
        if failure is not None:
            await self._handle_error(update, data, failure)
        self._tracebacks.forget(str(update.update_id))

    async def _handle_error(self, update: Update, data: dict[str, Any], error: Exception) -> None:
        name = f"update {update.update_id}"
        if isinstance(error, TryLater):  # not a failure: the limits of Telegram or of this bot ask to wait
            raise error
        if isinstance(error, TelegramError) and classify(error) in (Refusal.GONE, Refusal.NOT_HERE):
            log.info("%s: the chat takes no answer (%s)", name, error)
            return
        text = f"{name}: {type(error).__name__}: {error}"
        if not is_temporary(error):
            traceback = self._tracebacks.select(str(update.update_id), error)
            log.error("%s failed: %s: %s", name, type(error).__name__, error, exc_info=traceback)
            try:
                await self.apology.send(update)
                return
            except Exception as untold:
                log.warning("%s: its sender cannot be told: %s", name, _described(untold))
                if not is_temporary(untold):
                    await self._add_dead_letter(data, type(error).__name__, is_told=False)
                    return
        tries = await self._count_try(update.update_id, text)
        if tries < MAX_TRIES:
            log.warning("%s; it is handled again", text)
            raise TryLater(min(2.0**tries, _LONGEST_PAUSE_S), text)
        is_told = False
        try:
            is_told = await self.apology.send(update)
        except Exception as untold:
            if is_temporary(untold) and tries < MAX_TRIES + UNTOLD_TRIES:
                log.warning("%s; its sender cannot be told either: %s", text, untold)
                raise TryLater(_UNTOLD_PAUSE_S, text) from untold
        log.error("%s; given up after %d tries", text, tries)
        await self._add_dead_letter(data, f"{type(error).__name__}, {tries} times", is_told=is_told)

    async def _count_try(self, update_id: int, text: str) -> int:
        """Count a failed try over all processes; return the count. Raises `TryLater` without Redis."""
        try:
            return await self.dead_letters.count_try(f"{Task.UPDATE}:{update_id}")
        except StoreUnavailable as error:
            raise TryLater(_LONGEST_PAUSE_S, text) from error

    async def give_up(self, update_json: str) -> None:
        """Give up an update that killed the processes that handled it; it is not handled again."""
        data, why = json.loads(update_json), "the processes that handled it died"
        await self._add_dead_letter(data, why, is_told=False)
        try:
            is_told = await self.apology.send(Update.de_json(data, self.application.bot))
        except Exception as error:
            log.warning("update %s: its sender cannot be told: %s", data["update_id"], _described(error))
            return
        await self._add_dead_letter(data, why, is_told=is_told)

    async def _add_dead_letter(self, data: dict[str, Any], why: str, *, is_told: bool) -> None:
        """Add an update to the dead letters, without anything that its sender wrote."""
        told = "its sender was told" if is_told else "its sender was not told"
        try:
            await self.dead_letters.add(f"{Task.UPDATE}:{data['update_id']}", _kind(data), f"{why}; {told}")
        except StoreUnavailable as error:
            log.warning("update %s could not be added to the dead letters: %s", data["update_id"], error)


def _described(error: Exception) -> str:
    """Describe an error that a malformed update caused, without the values that it may quote."""
    is_harmless = isinstance(error, TypeError | TelegramError | StoreUnavailable | TryLater)
    return f"{type(error).__name__}: {error}" if is_harmless else type(error).__name__


def _kind(data: dict[str, Any]) -> str:
    if "callback_query" in data:
        return "a tap"
    message = next((data[kind] for kind in _MESSAGES if kind in data), None)
    kinds = [kind for kind in _KINDS if kind in message] if isinstance(message, dict) else []
    return f"a message ({kinds[0]})" if kinds else "a message"
