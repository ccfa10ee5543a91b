"""Updates from Telegram into the Application, through the engine: what Telegram was told is received is in
Redis by then, so a killed bot loses none. They come by polling, or by webhook (`webhook/updates.py`)."""

import asyncio
import json
import logging
from typing import Any

from telegram import Bot, Update
from telegram.error import Conflict, InvalidToken, TelegramError
from telegram.ext import Application

from bot.errors import language_of, may_pass, tell
from bot.update_health import UpdateHealth
from stemdrop.chat.translations import Translations
from stemdrop.errors import StemdropError, StoreUnavailable, TryLater
from stemdrop.storage.dead_letters import DeadLetters
from stemdrop.storage.users import Users
from stemdrop.tasks.engine import Engine, Task
from stemdrop.tasks.incoming_updates import keep

log = logging.getLogger(__name__)

ALLOWED_UPDATES = ["message", "callback_query"]
# How long Telegram holds an empty poll open.
POLL_S = 25
_LONGEST_PAUSE_S = 30
# An update is handled so often, over some five minutes, before it is held to be hopeless.
MAX_TRIES = 12
# But where its sender cannot be told so either, nothing reaches anybody: for a day more, every five minutes.
UNTOLD_TRIES = 288
_UNTOLD_PAUSE_S = 300.0
SECOND_POLLER = "another program polls with this bot's token; only one can"
_KINDS = ("audio", "voice", "video", "video_note", "document", "photo", "sticker", "text")


async def poll(bot: Bot, engine: Engine, update_health: UpdateHealth, stop: asyncio.Event) -> None:
    """Fetch updates and hand each to the engine until `stop` is set.

    Raises `InvalidToken`; waits out everything else. One consumer at a time (Telegram's rule).
    """
    stopping = asyncio.create_task(stop.wait())
    # the first is not held open: a bot that has just begun soon knows whether it hears
    offset, hold_s, pause_s = 0, 0, 1.0
    try:
        while not stop.is_set():
            fetching = asyncio.create_task(_fetch(bot, engine, offset, hold_s))
            await asyncio.wait({fetching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not fetching.done():
                fetching.cancel()
                await asyncio.wait({fetching})
                break
            try:
                offset, hold_s, pause_s = fetching.result(), POLL_S, 1.0
                update_health.succeeded()
            except InvalidToken:
                raise
            except (TelegramError, StoreUnavailable) as error:
                if isinstance(error, Conflict):
                    update_health.disturbed(SECOND_POLLER)
                    log.error(SECOND_POLLER)
                else:
                    update_health.failed(f"updates cannot be fetched: {error}")
                    log.warning("updates cannot be fetched, again in %.0f s: %s", pause_s, error)
                await asyncio.wait({stopping}, timeout=pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
    finally:
        stopping.cancel()


async def _fetch(bot: Bot, engine: Engine, offset: int, hold_s: int) -> int:
    """One poll; returns the next offset, which confirms these updates to Telegram."""
    updates = await bot.get_updates(offset=offset, timeout=hold_s, allowed_updates=ALLOWED_UPDATES)
    for update in updates:
        await keep(engine, update.to_dict())
        offset = update.update_id + 1
    return offset


class UpdateHandler:
    """The task `UPDATE`: one update, as JSON, through the Application."""

    def __init__(
        self,
        application: "Application[Any, Any, Any, Any, Any, Any]",
        dead_letters: DeadLetters,
        users: Users,
        translations: Translations,
    ) -> None:
        self._application = application
        self._dead_letters = dead_letters
        self._users = users
        self._translations = translations

    async def run(self, update_json: str) -> None:
        """Handle it; what goes wrong is the Application's error handler's.

        Raises `TryLater` when that says that it may pass by itself: a song is not lost to a bad moment. Who
        sent what is given up is told so, and the operator finds it among the dead letters.
        """
        update = Update.de_json(json.loads(update_json), self._application.bot)
        await self._application.process_update(update)
        trouble = self._application.bot_data.pop(update.update_id, None)
        error = trouble.error if trouble else None
        if error is None:
            return
        if isinstance(error, TryLater):  # nothing has failed: Telegram's limits ask for patience
            raise error
        what = f"update {update.update_id}: {type(error).__name__}: {error}"
        tries = await self._failed_again(update.update_id, what)
        if tries < MAX_TRIES:
            log.warning("%s; it is handled again", what)
            raise TryLater(min(2.0**tries, _LONGEST_PAUSE_S), what)
        try:
            is_told = await tell(update, trouble.say)
        except (TelegramError, StemdropError) as untold:
            if may_pass(untold) and tries < MAX_TRIES + UNTOLD_TRIES:
                log.warning("%s; nor can its sender be told: %s", what, untold)
                raise TryLater(_UNTOLD_PAUSE_S, what) from untold
            is_told = False
        log.error("%s; given up after %d tries", what, tries)
        await self._note(json.loads(update_json), f"{type(error).__name__}, {tries} times", is_told=is_told)

    async def _failed_again(self, update_id: int, what: str) -> int:
        """How often it has failed by now, whoever handled it. Tries that Redis cannot count are none."""
        try:
            return await self._dead_letters.count_try(f"{Task.UPDATE}:{update_id}")
        except StoreUnavailable as error:
            raise TryLater(_LONGEST_PAUSE_S, what) from error

    async def give_up(self, update_json: str) -> None:
        """It killed who handled it: it is not handled again."""
        facts, why = json.loads(update_json), "whoever handled it died"
        await self._note(facts, why, is_told=False)
        update = Update.de_json(facts, self._application.bot)
        try:
            is_told = await tell(update, await language_of(update, self._users, self._translations))
        except (TelegramError, StemdropError) as error:
            log.warning("update %s: its sender could not be told: %s", facts["update_id"], error)
            return
        await self._note(facts, why, is_told=is_told)

    async def _note(self, facts: dict[str, Any], why: str, *, is_told: bool) -> None:
        """Put it among the dead letters, without anybody's words: who sent it is to send it again."""
        told = "its sender was told" if is_told else "its sender was not told"
        try:
            await self._dead_letters.add(
                f"{Task.UPDATE}:{facts['update_id']}", _kind(facts), f"{why}; {told}"
            )
        except StoreUnavailable as error:
            log.warning("update %s: not among the dead letters: %s", facts["update_id"], error)


def _kind(facts: dict[str, Any]) -> str:
    """What was sent, for the operator: `a message (document)`."""
    if "callback_query" in facts:
        return "a tap"
    kinds = [kind for kind in _KINDS if kind in facts.get("message", {})]
    return f"a message ({kinds[0]})" if kinds else "a message"
