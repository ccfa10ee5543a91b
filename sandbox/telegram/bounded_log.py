"""A log that numbers its entries and keeps the latest ones."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import TypeVar, overload

T = TypeVar("T")


class BoundedLog(Sequence[T]):
    """The latest entries of a log, numbered from 1; the oldest are dropped.

    At most `max_entries` are kept, and at most `max_bytes`, counted as the characters of their `repr`: an
    entry that is larger than that empties the log.
    """

    def __init__(self, *, max_entries: int = 10_000, max_bytes: int = 16_000_000) -> None:
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._kept: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self.last_number = 0
        """The number of the latest entry, kept or not; 0 before the first."""

    def append(self, entry: T) -> None:
        size = len(repr(entry))
        self._kept.append((entry, size))
        self._bytes += size
        self.last_number += 1
        while len(self._kept) > self._max_entries or self._bytes > self._max_bytes:
            self._bytes -= self._kept.popleft()[1]

    def after(self, number: int) -> list[tuple[int, T]]:
        """Return the kept entries after number `number`, each with its own."""
        first = self.last_number - len(self._kept) + 1
        skipped = max(0, number + 1 - first)
        return [(first + i, entry) for i, (entry, _) in enumerate(islice(self._kept, skipped, None), skipped)]

    def has_all_after(self, number: int) -> bool:
        """Whether no entry after number `number` was dropped."""
        return self.last_number - number <= len(self._kept)

    def clear(self) -> None:
        """Drop all entries; the numbers go on."""
        self._kept.clear()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [entry for entry, _ in self._kept][index]
        return self._kept[index][0]
