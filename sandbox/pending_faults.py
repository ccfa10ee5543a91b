"""Faults that the sandbox causes: how often and how long each one still happens."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar


@dataclass(kw_only=True)
class PendingFault:
    """A fault for the next `times` matching calls (None: all), until a time of the clock (None: no end).

    `hits` counts how often it has happened.
    """

    times: int | None = 1
    until: float | None = None
    hits: int = 0

    def is_over(self, now: float) -> bool:
        is_used = self.times is not None and self.hits >= self.times
        return is_used or (self.until is not None and now >= self.until)


FaultT = TypeVar("FaultT", bound=PendingFault)


class PendingFaults(Generic[FaultT]):
    """The faults that calls will meet, the oldest first. `clock` returns Unix seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._faults: list[FaultT] = []

    def put(self, fault: FaultT) -> FaultT:
        self._faults = [*self.pending, fault]
        return fault

    def clear(self) -> None:
        self._faults.clear()

    @property
    def pending(self) -> list[FaultT]:
        """The faults that calls will still meet."""
        return [fault for fault in self._faults if not fault.is_over(self._clock())]

    def _take(self, matches: Callable[[FaultT], bool]) -> FaultT | None:
        """Return the oldest pending fault that matches, and count it."""
        fault = next(filter(matches, self.pending), None)
        if fault:
            fault.hits += 1
        return fault
