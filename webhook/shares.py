"""One account's share of what a process does at once, so that nobody's fifty songs make another wait."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from stemdrop.errors import TryLater

AGAIN_S = 5.0


class Shares:
    """In each process for itself: whoever it turns away may find room in another. `most` is per account."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[int] = Counter()

    @contextmanager
    def of(self, account: int) -> Iterator[None]:
        """Hold one place of the account's share. Raises `TryLater` when it has none left."""
        if self._held[account] >= self._most:
            raise TryLater(AGAIN_S, f"account {account} has {self._most} of these under way already")
        self._held[account] += 1
        try:
            yield
        finally:
            self._held[account] -= 1
            if not self._held[account]:
                del self._held[account]
