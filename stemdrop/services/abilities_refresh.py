"""`AbilitiesRefresh`: asks the provider what it can do, so that only that is offered."""

import asyncio
import logging
from dataclasses import dataclass, field

from stemdrop.errors import BadContract, Refused, SeparationError
from stemdrop.provider.client import SeparationClient
from stemdrop.storage.abilities import AbilitiesCache

log = logging.getLogger(__name__)

# A provider that is away must not delay the start of the bot.
PATIENCE_S = 3.0


@dataclass
class AbilitiesRefresh:
    """Run at the start of the bot and by one worker periodically."""

    separation: SeparationClient
    cache: AbilitiesCache
    _last_error: str = field(init=False, default="")

    async def run(self) -> None:
        """Ask once; without an answer the last one holds. Raises `StoreUnavailable`."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                abilities = await self.separation.abilities()
        except (Refused, SeparationError, BadContract, TimeoutError) as error:
            why = str(error) or "no answer in time"
            if why != self._last_error:  # not once a minute for ever
                log.info("the separation API's abilities are as before: %s", why)
            self._last_error = why
            return
        self._last_error = ""
        await self.cache.put(abilities)
