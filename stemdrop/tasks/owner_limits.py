"""Limits on what a process does at once for one owner, so that one user's fifty songs delay no other user."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from stemdrop.errors import StemdropError, TryLater

BUSY_AGAIN_S = 5.0

Owner = TypeVar("Owner", bound=Hashable)


def account_is_busy() -> TryLater:
    """Return the error for a task whose account is at its limit here; another process may have room."""
    return TryLater(BUSY_AGAIN_S, "its account has its share of these under way already")


class OwnerLimits(Generic[Owner]):
    """Allows each owner (an account, a job) `most` places at once in this process."""

    def __init__(self, most: int, refuse: Callable[[], StemdropError]) -> None:
        self._most = most
        self._refuse = refuse
        self._held: Counter[Owner] = Counter()

    @contextmanager
    def of(self, owner: Owner) -> Iterator[None]:
        """Hold one place of the owner; raises the error of `refuse` when none is free."""
        if self._held[owner] >= self._most:
            raise self._refuse()
        self._held[owner] += 1
        try:
            yield
        finally:
            self._held[owner] -= 1
            if not self._held[owner]:
                del self._held[owner]
