"""The periodic task that warns the admins of few credits and failing providers.

The task runs in one worker at a time.
"""

import logging
import math

from stemdrop.errors import BadContract, Refused, SeparationError
from stemdrop.provider.interface import Provider
from stemdrop.provider.registry import Providers, is_free
from stemdrop.services.admin_alerts import AdminAlerts
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.circuits import Circuits

log = logging.getLogger(__name__)


class CreditsMonitor:
    """Asks the providers for the credits that are left; `AdminAlerts` decides what to send."""

    def __init__(
        self,
        providers: Providers,
        alerts: AdminAlerts,
        abilities: AbilitiesCache,
        circuits: Circuits,
    ) -> None:
        self._providers = providers
        self._alerts = alerts
        self._abilities = abilities
        self._circuits = circuits
        self._logged: dict[str, str] = {}

    async def run(self) -> None:
        """Ask each provider once. An unreachable one is only logged, unless its circuit is open for long."""
        for provider in self._providers.asked:
            await self._ask(provider)

    async def _ask(self, provider: Provider) -> None:
        try:
            credits = await provider.balance()
        except Refused as error:
            self._log_once(provider, error)
            await self._alerts.failed(str(error.code), provider.name)
            return
        except (SeparationError, BadContract) as error:
            self._log_once(provider, error)
        else:
            self._logged.pop(provider.name, None)
            if credits is not None:
                left = math.inf if await is_free(provider.name, self._abilities) else credits
                works = provider.capabilities
                await self._alerts.credits_left(left, provider.name, works.few_left, works.balance_unit)
        # only failures count: a provider that no song has needed since may work again
        await self._alerts.failing(provider.name, (await self._circuits.get(provider.name)).failed_for_s)

    def _log_once(self, provider: Provider, error: Exception) -> None:
        if self._logged.get(provider.name) != str(error):
            title = provider.capabilities.title
            log.warning("the number of credits left is unknown (%s): %s", title, error)
            self._logged[provider.name] = str(error)
