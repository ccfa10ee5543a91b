"""The lines of `/admin` about the providers, unless only the API at SEPARATION_API_URL is asked."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from stemdrop.chat.translations import Language
from stemdrop.errors import BadContract, Refused, SeparationError
from stemdrop.observability.metric_definitions import CREATE_CALLS
from stemdrop.provider.interface import Provider
from stemdrop.provider.registry import Providers, is_free
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.circuits import Circuits
from stemdrop.storage.counters import Counters

# How long the screen waits for the balance of a provider.
CREDITS_WAIT_S = 3
_ENDED = ("succeeded", "failed", "refunded", "refused")


@dataclass(frozen=True, kw_only=True)
class ProviderLines:
    """Renders the lines. `titles` maps the names of the providers that are asked to their titles.

    It is empty if only the API at SEPARATION_API_URL is asked. The methods raise `StoreUnavailable`.
    """

    providers: Providers
    abilities: AbilitiesCache
    circuits: Circuits
    counters: Counters
    titles: Mapping[str, str]

    async def all(self, translate: Language) -> list[str]:
        """Return a line for each provider; all are asked for their balance at the same time."""
        lately = await self.counters.lately()
        asked = [self.providers[name] for name in self.titles]
        return list(await asyncio.gather(*(self._line(it, lately, translate) for it in asked)))

    async def _line(self, provider: Provider, lately: Mapping[str, float], translate: Language) -> str:
        facts = [self.titles[provider.name], *await self._balance(provider, translate)]
        hour = {it: round(lately.get(CREATE_CALLS.field(provider.name, it), 0)) for it in _ENDED}
        if ended := sum(hour.values()):
            facts.append(translate("admin.success", succeeded=hour["succeeded"], ended=ended))
        if closed_s := (await self.circuits.get(provider.name)).asked_again_s:
            facts.append(translate("admin.not_asked", time=translate.duration(closed_s)))
        return " · ".join(facts)

    async def _balance(self, provider: Provider, translate: Language) -> list[str]:
        try:
            async with asyncio.timeout(CREDITS_WAIT_S):
                balance = await provider.balance()
        except Refused as error:
            return [translate("admin.refuses", code=error.code)]
        except (SeparationError, BadContract, TimeoutError):
            return [translate("admin.no_answer")]
        if balance is None or await is_free(provider.name, self.abilities):
            return []
        left = translate.balance(balance, provider.capabilities.balance_unit)
        return [translate("admin.balance", credits=left)]
