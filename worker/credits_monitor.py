"""Periodic task, run by one worker at a time: warns the admins before the credits run out."""

import logging
import math

from stemdrop.errors import BadContract, Refused, SeparationError
from stemdrop.provider.interface import Provider
from stemdrop.provider.registry import Providers
from stemdrop.services.admin_alerts import AdminAlerts
from stemdrop.storage.abilities import AbilitiesCache

log = logging.getLogger(__name__)


class CreditsMonitor:
    """Asks the providers for the credits that are left; `AdminAlerts` decides what to send."""

    def __init__(self, providers: Providers, alerts: AdminAlerts, abilities: AbilitiesCache) -> None:
        self._providers = providers
        self._alerts = alerts
        self._abilities = abilities
        self._logged: dict[str, str] = {}

    async def run(self) -> None:
        """Ask each once. Admins get no alert when one is unreachable: their users' songs wait for it."""
        for provider in self._providers.asked:
            await self._ask(provider)

    async def _ask(self, provider: Provider) -> None:
        try:
            credits = await provider.balance()
        except Refused as error:
            self._log_once(provider, error)
            await self._alerts.failed(str(error.code))
        except (SeparationError, BadContract) as error:
            self._log_once(provider, error)
        else:
            self._logged.pop(provider.name, None)
            if credits is not None:
                is_free = (await self._abilities.of(provider.name)).is_free
                await self._alerts.credits_left(math.inf if is_free else credits)

    def _log_once(self, provider: Provider, error: Exception) -> None:
        if self._logged.get(provider.name) != str(error):
            log.warning("the number of credits left is unknown: %s", error)
            self._logged[provider.name] = str(error)
