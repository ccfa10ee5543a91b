"""Updates between Telegram and the bots: stored as tasks of the engine, with the time of their arrival."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable

from telegram import Update

from stemdrop.storage.dead_letters import DeadLetters
from stemdrop.tasks.engine import Engine, Task

log = logging.getLogger(__name__)

_RECEIVED_AT = "received_at"  # our field, which Telegram's updates do not have
# Telegram's own numbers are 32-bit integers.
_MAX_UPDATE_ID = 2**53


async def store_update(
    engine: Engine, dead_letters: DeadLetters, update: object, clock: Callable[[], float] = time.time
) -> int | None:
    """Store an update for the bots and return its number; idempotent.

    An update without a usable number cannot be told from others: it becomes a dead letter, and None is
    returned. Raises `StoreUnavailable`.
    """
    number = update.get("update_id") if isinstance(update, dict) else None
    if isinstance(update, dict) and type(number) is int and 0 <= number <= _MAX_UPDATE_ID:
        dated = {**update, _RECEIVED_AT: clock()}
        await engine.add(Task.UPDATE, str(number), json.dumps(dated))
        return number
    digest = hashlib.sha256(json.dumps(update, sort_keys=True).encode()).hexdigest()[:12]
    log.error("an update without a usable update_id is skipped (digest %s)", digest)
    why = "it has no usable update_id; its sender was not told"
    await dead_letters.add(f"{Task.UPDATE}:unnumbered-{digest}", "an update", why)
    return None


def received_at(update: Update) -> float:
    """Return when an update was stored, in Unix seconds; infinity if that was not noted.

    It may be handled much later. A tap refers to what its message showed at that time.
    """
    return float(update.api_kwargs.get(_RECEIVED_AT, math.inf))
