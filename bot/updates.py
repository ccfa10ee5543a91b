"""Updates from Telegram into the Application, through the engine: what Telegram was told is received is in
Redis by then, so a killed bot loses none. They come by polling, or by webhook (`webhook/updates.py`)."""

import asyncio
import json
import logging
from collections import Counter
from typing import Any

from telegram import Bot, Update
from telegram.error import Conflict, InvalidToken, TelegramError
from telegram.ext import Application

from stemdrop.engine import Engine, Task
from stemdrop.errors import StoreUnavailable, TryLater

log = logging.getLogger(__name__)

ALLOWED_UPDATES = ["message", "callback_query"]
# How long Telegram holds an empty poll open.
POLL_S = 25
_LONGEST_PAUSE_S = 30
# An update is handled so often, over some five minutes, before it is held to be hopeless.
MAX_TRIES = 12


async def poll(bot: Bot, engine: Engine, stop: asyncio.Event) -> None:
    """Fetch updates and hand each to the engine until `stop` is set.

    Raises `InvalidToken`; waits out everything else. One consumer at a time (Telegram's rule).
    """
    stopping = asyncio.create_task(stop.wait())
    offset, pause_s = 0, 1.0
    try:
        while not stop.is_set():
            fetching = asyncio.create_task(_fetch(bot, engine, offset))
            await asyncio.wait({fetching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not fetching.done():
                fetching.cancel()
                await asyncio.wait({fetching})
                break
            try:
                offset, pause_s = fetching.result(), 1.0
            except InvalidToken:
                raise
            except (TelegramError, StoreUnavailable) as error:
                if isinstance(error, Conflict):
                    log.error("another program polls with this bot's token; only one can")
                else:
                    log.warning("updates cannot be fetched, again in %.0f s: %s", pause_s, error)
                await asyncio.wait({stopping}, timeout=pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
    finally:
        stopping.cancel()


async def _fetch(bot: Bot, engine: Engine, offset: int) -> int:
    """One poll; returns the next offset, which confirms these updates to Telegram."""
    updates = await bot.get_updates(offset=offset, timeout=POLL_S, allowed_updates=ALLOWED_UPDATES)
    for update in updates:
        await engine.add(Task.UPDATE, str(update.update_id), update.to_json())
        offset = update.update_id + 1
    return offset


class UpdateHandler:
    """The task `UPDATE`: one update, as JSON, through the Application."""

    def __init__(self, application: "Application[Any, Any, Any, Any, Any, Any]") -> None:
        self._application = application
        self._tries: Counter[int] = Counter()

    async def run(self, update_json: str) -> None:
        """Handle it; what goes wrong is the Application's error handler's.

        Raises `TryLater` when that says that it may pass by itself: a song is not lost to a bad moment.
        """
        update = Update.de_json(json.loads(update_json), self._application.bot)
        await self._application.process_update(update)
        error = self._application.bot_data.pop(update.update_id, None)
        if isinstance(error, TryLater):  # nothing has failed: Telegram's limits ask for patience
            raise error
        if error is None:
            self._tries.pop(update.update_id, None)
            return
        self._tries[update.update_id] += 1
        tries = self._tries[update.update_id]
        what = f"update {update.update_id}: {type(error).__name__}: {error}"
        if tries < MAX_TRIES:
            log.warning("%s; it is handled again", what)
            raise TryLater(min(2.0**tries, _LONGEST_PAUSE_S), what)
        del self._tries[update.update_id]
        log.error("%s; given up after %d tries", what, tries)
