"""Telegram's flood limits as token buckets, per chat and over all chats.

About 1/s in a private chat, 20/min in a group, 30/s over all chats (core.telegram.org/bots/faq, 'My bot is
hitting limits'). The capacities allow short bursts. An album's items and edits count as one message each.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.telegram.errors import too_many_requests

_CHAT_CAPACITY = 20


@dataclass
class _Bucket:
    capacity: float
    refill_per_s: float
    level: float
    filled_at: float

    def refill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + max(0.0, now - self.filled_at) * self.refill_per_s)
        self.filled_at = now

    def wait_s(self, count: int) -> float:
        return max(0.0, (count - self.level) / self.refill_per_s)


class FloodLimits:
    """Limits the bot's messages; `refusals` counts the 429 answers."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._overall = _Bucket(30, 30, 30, clock())
        self._chats: dict[int, _Bucket] = {}
        self.refusals = 0
        self.is_enforced = True

    def left(self, chat_id: int) -> int:
        """Return how many messages the bot may send to a chat now."""
        buckets = [self._overall, *filter(None, [self._chats.get(chat_id)])]
        for bucket in buckets:
            bucket.refill(self._clock())
        return int(min(_CHAT_CAPACITY, *(bucket.level for bucket in buckets)))

    def take(self, chat_id: int, count: int = 1) -> None:
        """Count `count` messages to one chat, or raise 429 and count none. Groups have negative ids."""
        now = self._clock()
        if chat_id not in self._chats:
            per_s = 20 / 60 if chat_id < 0 else 1.0
            self._chats[chat_id] = _Bucket(_CHAT_CAPACITY, per_s, _CHAT_CAPACITY, now)
        buckets = (self._overall, self._chats[chat_id])
        for bucket in buckets:
            bucket.refill(now)
        wait_s = max(bucket.wait_s(count) for bucket in buckets)
        # A rounding error of floats must not make a full bucket refuse.
        if wait_s > 1e-6 and self.is_enforced:
            self.refusals += 1
            raise too_many_requests(max(1, math.ceil(wait_s - 1e-6)))
        for bucket in buckets:
            bucket.level -= count
