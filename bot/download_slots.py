"""Limits how many songs are downloaded at once, in all and per user: one user's fifty delay no other user."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stemdrop.errors import TryLater

TOTAL, PER_OWNER = 8, 2
# The seconds after which the song that is next for a slot asks again; each place behind it adds a quarter.
SLOT_AGAIN_S = 1.0
_LONGEST_AGAIN_S = 15.0


class DownloadSlots:
    """Slots for the downloads of one process. A task without one is put off, and holds nothing meanwhile."""

    def __init__(
        self,
        total: int = TOTAL,
        per_owner: int = PER_OWNER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._per_owner = per_owner
        self._clock = clock
        self._held = Counter[int]()
        # Owner → the messages that wait for a slot, each with the time after which it no longer counts, since
        # another process has probably handled it.
        self._waiting: dict[int, dict[int, float]] = {}

    @contextmanager
    def hold(self, owner: int, message_id: int) -> Iterator[None]:
        """Hold a slot for the block, an owner's older messages first. Raises `TryLater` when none is free."""
        now = self._clock()
        waiting = {number: end for number, end in self._waiting.pop(owner, {}).items() if end > now}
        free = min(self._per_owner - self._held[owner], self._total - self._held.total())
        place = sum(number < message_id for number in waiting) - free
        if place >= 0:
            pause_s = min(SLOT_AGAIN_S * (1 + place / 4), _LONGEST_AGAIN_S)
            self._waiting[owner] = {**waiting, message_id: now + 2 * pause_s}
            raise TryLater(pause_s, "other songs are downloaded first")
        waiting.pop(message_id, None)
        if waiting:
            self._waiting[owner] = waiting
        self._held[owner] += 1
        try:
            yield
        finally:
            self._held[owner] -= 1
            self._held += Counter()  # drops owners that hold none
