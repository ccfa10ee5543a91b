"""Which errors are logged with a traceback, and how often."""

import httpx
from telegram.error import TelegramError

from stemdrop.errors import StemdropError

# Failures of other systems: their text is enough without a traceback.
EXPECTED = (StemdropError, TelegramError, httpx.TransportError)
# Work that ends in another process is never forgotten here, so the number of entries is bounded.
_MOST = 1000


class Tracebacks:
    """Selects the errors whose traceback is worth logging: unexpected ones, once for each piece of work."""

    def __init__(self) -> None:
        self._logged: dict[str, type[Exception]] = {}

    def select(self, work: str, error: Exception) -> Exception | None:
        """Return the error, for `exc_info`, unless it is expected or was selected for this work before."""
        if isinstance(error, EXPECTED) or self._logged.get(work) is type(error):
            return None
        if len(self._logged) >= _MOST:
            self._logged.clear()
        self._logged[work] = type(error)
        return error

    def forget(self, work: str) -> None:
        """Note that this work has ended."""
        self._logged.pop(work, None)
