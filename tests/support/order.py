"""The order of the files: those that mostly wait among those that compute, so that no core is idle meanwhile
or at the end."""

from collections.abc import Iterable, Iterator

import pytest

# For leases, polls and flood limits.
WAITING = ("journeys", "faults")
# Of all; what begins after is short.
_BEGUN_BY = 0.8


def mixed(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The tests of each file stay together, as they were."""
    files: dict[bool, dict[str, list[pytest.Item]]] = {True: {}, False: {}}
    for item in items:
        waits = item.path.parent.name in WAITING
        files[waits].setdefault(str(item.path), []).append(item)
    placed = [*_placed(files[True].values(), _BEGUN_BY), *_placed(files[False].values(), 1)]
    return [item for _, tests in sorted(placed, key=lambda at: at[0]) for item in tests]


def _placed(files: Iterable[list[pytest.Item]], end: float) -> Iterator[tuple[float, list[pytest.Item]]]:
    """Evenly from 0 to `end`; the files with few tests first, since long tests are in small files."""
    ordered = sorted(files, key=len)
    for number, tests in enumerate(ordered):
        yield end * number / len(ordered), tests
