"""Periodic, once over all workers: how many credits are left, before a song shows that there are none."""

import logging

from stemdrop.errors import BadContract, Refused, SeparationError
from stemdrop.provider.client import SeparationClient
from stemdrop.services.admin_alerts import AdminAlerts

log = logging.getLogger(__name__)


class CreditsMonitor:
    """Asks the separation API and leaves it to `AdminAlerts` what the admins hear of the answer."""

    def __init__(self, separation: SeparationClient, alerts: AdminAlerts) -> None:
        self._separation = separation
        self._alerts = alerts
        self._trouble: str | None = None  # what is in the log already

    async def run(self) -> None:
        """Ask once. An API that is away is no news for admins: their users' songs wait or tell."""
        try:
            credits = await self._separation.credits()
        except Refused as error:
            self._note(error)
            await self._alerts.refused(error.code)
        except (SeparationError, BadContract) as error:
            self._note(error)
        else:
            self._trouble = None
            await self._alerts.credits_left(credits)

    def _note(self, error: Exception) -> None:
        if self._trouble != str(error):
            log.warning("the credits that are left are not known: %s", error)
            self._trouble = str(error)
