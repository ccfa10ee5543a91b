"""Telegram's flood limits as token buckets: how many messages a bot may send to one chat, and over all chats.

Figures: about 1/s in a private chat, 20/min in a group, 30/s over all (core.telegram.org/bots/faq, 'My bot is
hitting limits'); short bursts pass, hence the capacities. An album's items and edits count one each.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.telegram.errors import too_many_requests


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
    """Counts what the bot sends; `refusals` says how often it had to be told to wait."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._overall = _Bucket(30, 30, 30, clock())
        self._chats: dict[int, _Bucket] = {}
        self.refusals = 0
        self.is_enforced = True

    def take(self, chat_id: int, count: int = 1) -> None:
        """Pay for `count` messages to one chat, or raise 429 and pay nothing. Groups have negative ids."""
        now = self._clock()
        if chat_id not in self._chats:
            per_s = 20 / 60 if chat_id < 0 else 1.0
            self._chats[chat_id] = _Bucket(20, per_s, 20, now)
        buckets = (self._overall, self._chats[chat_id])
        for bucket in buckets:
            bucket.refill(now)
        wait_s = max(bucket.wait_s(count) for bucket in buckets)
        # The tolerance is for the sums of floats: a bucket short by 1e-12 is full.
        if wait_s > 1e-6 and self.is_enforced:
            self.refusals += 1
            raise too_many_requests(max(1, math.ceil(wait_s - 1e-6)))
        for bucket in buckets:
            bucket.level -= count
