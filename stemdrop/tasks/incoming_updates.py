"""An update on its way from Telegram to the bots: kept by the engine, with when it came."""

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from telegram import Update

from stemdrop.tasks.engine import Engine, Task

_RECEIVED_AT = "received_at"  # no field of Telegram's


async def keep(engine: Engine, update: Mapping[str, Any], clock: Callable[[], float] = time.time) -> None:
    """Let a bot handle this update; kept twice, it is handled once. Raises `StoreUnavailable`."""
    dated = {**update, _RECEIVED_AT: clock()}
    await engine.add(Task.UPDATE, str(update["update_id"]), json.dumps(dated))


def received_at(update: Update) -> float:
    """When it was kept, in Unix seconds; infinity where nobody noted that.

    It may be handled much later. What was tapped by then is meant as things stood when it was tapped.
    """
    return float(update.api_kwargs.get(_RECEIVED_AT, math.inf))
