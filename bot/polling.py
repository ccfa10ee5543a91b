"""Fetches updates from Telegram by long polling and stores them for the engine.

Telegram is told that an update has arrived only once the update is in Redis, so a killed bot loses none.
Updates are stored as they came and parsed one at a time where they are handled (`bot/updates.py`): one that
cannot be parsed stops no other.
"""

import asyncio
import logging
from dataclasses import dataclass, field

from telegram.error import Conflict, InvalidToken, TelegramError
from telegram.ext import ExtBot

from bot.update_health import UpdateHealth
from stemdrop.errors import StoreUnavailable
from stemdrop.services.undo_taps import undo_at_once
from stemdrop.storage.dead_letters import DeadLetters
from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Engine
from stemdrop.tasks.incoming_updates import store_update
from stemdrop.tasks.tracebacks import Tracebacks

log = logging.getLogger(__name__)

ALLOWED_UPDATES = [
    *("message", "edited_message", "channel_post", "edited_channel_post"),
    *("callback_query", "my_chat_member"),
]
# How long Telegram holds an empty poll open, and how long its answer may take beyond that.
POLL_S = 25
_ANSWER_S = 15
_LONGEST_PAUSE_S = 30
SECOND_POLLER = "another program polls with this bot's token; only one can"


@dataclass
class Poller:
    """Fetches updates for as long as a bot runs; Telegram allows one poller at a time."""

    bot: ExtBot[float]
    store: JobStore
    engine: Engine
    dead_letters: DeadLetters
    update_health: UpdateHealth
    _tracebacks: Tracebacks = field(init=False, default_factory=Tracebacks)
    _offset: int = field(init=False, default=0)

    async def run(self, stop: asyncio.Event) -> None:
        """Fetch until `stop` is set. Raises `InvalidToken`; every other failure is retried."""
        stopping = asyncio.create_task(stop.wait())
        # The first poll is not held open: a bot that has just started soon knows whether it gets updates.
        hold_s, pause_s = 0, 1.0
        try:
            while not stop.is_set():
                fetching = asyncio.create_task(self._fetch(hold_s))
                await asyncio.wait({fetching, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not fetching.done():
                    fetching.cancel()
                    await asyncio.wait({fetching})
                    break
                error = fetching.exception()
                if error is None:
                    hold_s, pause_s = POLL_S, 1.0
                    self.update_health.succeeded()
                elif isinstance(error, InvalidToken) or not isinstance(error, Exception):
                    raise error
                else:
                    self._note(error, pause_s)
                    await asyncio.wait({stopping}, timeout=pause_s)
                    pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        finally:
            stopping.cancel()

    async def _fetch(self, hold_s: int) -> None:
        """Fetch and store once; the next call's offset confirms these updates to Telegram."""
        # The library's `get_updates` parses all updates of an answer, or none if one of them is malformed.
        answer = await self.bot._post(
            "getUpdates",
            {"offset": self._offset, "timeout": hold_s, "allowed_updates": ALLOWED_UPDATES},
            read_timeout=_ANSWER_S + hold_s,
        )
        if not isinstance(answer, list):
            raise TelegramError("its answer to getUpdates is not a list")
        for update in answer:
            await undo_at_once(self.store, update)
        stored = [await store_update(self.engine, self.dead_letters, update) for update in answer]
        numbers = [number for number in stored if number is not None]
        if numbers:
            # After a week without updates Telegram's numbers start anew, perhaps lower (Bot API, `Update`).
            self._offset = max(numbers) + 1
        elif stored:
            # The first of them has the number `offset` or a later one, so no good update is passed over.
            # If no number is known yet, the next good update confirms these too.
            self._offset += bool(self._offset)
            raise TelegramError("none of its updates has a usable update_id")

    def _note(self, error: Exception, pause_s: float) -> None:
        if isinstance(error, Conflict):
            self.update_health.disturbed(SECOND_POLLER)
            log.error(SECOND_POLLER)
            return
        is_redis = isinstance(error, StoreUnavailable)
        problem = "updates cannot be stored" if is_redis else "updates cannot be fetched"
        text = str(error) if isinstance(error, TelegramError | StoreUnavailable) else repr(error)
        self.update_health.failed(f"{problem}: {text}")
        traceback = self._tracebacks.select("poll", error)
        log.warning("%s, again in %.0f s: %s", problem, pause_s, text, exc_info=traceback)
