"""Periodic task, run by one worker at a time: warns the admins before the credits run out."""

import logging
import math

from stemdrop.errors import BadContract, Refused, SeparationError
from stemdrop.provider.client import SeparationClient
from stemdrop.services.admin_alerts import AdminAlerts
from stemdrop.storage.abilities import AbilitiesCache

log = logging.getLogger(__name__)


class CreditsMonitor:
    """Asks the separation API for the credits that are left; `AdminAlerts` decides what to send."""

    def __init__(self, separation: SeparationClient, alerts: AdminAlerts, abilities: AbilitiesCache) -> None:
        self._separation = separation
        self._alerts = alerts
        self._abilities = abilities
        self._logged: str | None = None

    async def run(self) -> None:
        """Ask once. Admins get no alert when the API is unreachable: their users' songs wait for it."""
        try:
            credits = await self._separation.credits()
        except Refused as error:
            self._log_once(error)
            await self._alerts.failed(str(error.code))
        except (SeparationError, BadContract) as error:
            self._log_once(error)
        else:
            self._logged = None
            is_free = (await self._abilities.get()).is_free
            await self._alerts.credits_left(math.inf if is_free else credits)

    def _log_once(self, error: Exception) -> None:
        if self._logged != str(error):
            log.warning("the number of credits left is unknown: %s", error)
            self._logged = str(error)
