"""`AbilitiesRefresh`: asks the providers what they can do, so that users are offered nothing else."""

import asyncio
import logging
from dataclasses import dataclass, field

from stemdrop.errors import BadContract, Refused, SeparationError
from stemdrop.provider.interface import Provider
from stemdrop.provider.registry import Providers
from stemdrop.storage.abilities import AbilitiesCache

log = logging.getLogger(__name__)

# A provider that does not answer must not delay the start of the bot.
ABILITIES_PATIENCE_S = 3.0


@dataclass
class AbilitiesRefresh:
    """Stores the providers' abilities; run at the start of the bot and periodically by one worker."""

    providers: Providers
    cache: AbilitiesCache
    _last_errors: dict[str, str] = field(init=False, default_factory=dict)

    async def run(self) -> None:
        """Ask each provider once; if it does not answer, its last answer stays. Raises `StoreUnavailable`."""
        await asyncio.gather(*map(self._ask, self.providers.asked))

    async def _ask(self, provider: Provider) -> None:
        try:
            async with asyncio.timeout(ABILITIES_PATIENCE_S):
                abilities = await provider.abilities()
        except (Refused, SeparationError, BadContract, TimeoutError) as error:
            why = str(error) or "no answer in time"
            if why != self._last_errors.get(provider.name):  # a lasting failure is not logged once a minute
                log.info("the abilities of %s are as before: %s", provider.capabilities.title, why)
            self._last_errors[provider.name] = why
            return
        self._last_errors.pop(provider.name, None)
        if abilities:
            await self.cache.put(abilities, provider.name)
