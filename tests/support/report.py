"""Writes the table of `docs/reliability.md` from the results of `make faults`, and adds its options."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_BEGIN, _END = "<!-- faults: written by `make faults` -->", "<!-- end of faults -->"
_HEAD = (
    "| fault | times | songs | explained | lost | stems twice | texts twice | paid twice | well after, s |"
)
# The order of the rows, by test file.
_FILES = ("kills", "redis", "telegram", "api", "providers", "stems", "remixes", "machine", "many")


@dataclass(frozen=True)
class Row:
    """One fault. `seconds` run from when nothing was broken any more until all songs had ended."""

    fault: str
    times: int
    songs: int
    explained: int
    lost: int
    twice: int
    shown_twice: int
    paid_twice: int
    seconds: float

    def line(self) -> str:
        """Format the row for the table."""
        counters = [self.times, self.songs, self.explained]
        counters += [self.lost, self.twice, self.shown_twice, self.paid_twice]
        return f"| {self.fault} | {' | '.join(map(str, counters))} | {self.seconds:.0f} |"


def add_options(parser: pytest.Parser) -> None:
    """Add the options of `make faults`."""
    parser.addoption("--full", action="store_true", help="run faults as often as docs/reliability.md says")
    parser.addoption("--report", type=Path, help="write the table of faults into this file")


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark of the tests that only `make faults` runs."""
    config.addinivalue_line("markers", "full: takes too long for the suite")


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that only `make faults` runs."""
    if config.getoption("--full"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Write the report from the results of all test processes."""
    found = list(_recorded(terminalreporter.stats))
    for line in [value for name, value in found if name == "walk"]:
        terminalreporter.write_line(line)
    if not (path := config.getoption("--report")):
        return
    rows = [Row(**value) for name, value in found if name == "fault"]
    points = [value for name, value in found if name == "points"]
    if rows:
        write_report(path, rows, points[0] if points else [])


def write_report(path: Path, rows: Sequence[Row], points: Sequence[str]) -> None:
    """Put the table between its marks in the file, and the points at which processes were killed."""
    before, _, rest = path.read_text("utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    lines = [_BEGIN, "", _HEAD, "|" + "---|" * (_HEAD.count("|") - 1), *(row.line() for row in rows)]
    if points:
        names = sorted({point.rpartition(":")[0] for point in points})
        lines += ["", f"The named points, before and after each: {', '.join(f'`{name}`' for name in names)}."]
    path.write_text(before + "\n".join([*lines, "", _END]) + after, "utf-8")


def _recorded(stats: dict[str, list[Any]]) -> Iterator[tuple[str, Any]]:
    """Yield what tests have recorded, in the order of the files and of the cases in them."""
    told = [report for reports in stats.values() for report in reports if _is_of_a_call(report)]
    for report in sorted(told, key=_place):
        yield from report.user_properties


def _is_of_a_call(report: Any) -> bool:
    """Return whether a report is of the test itself: those of its set-up and end have the same properties."""
    return getattr(report, "when", "") == "call"


def _place(report: Any) -> tuple[int, int, str]:
    file, line, name = report.location
    kind = Path(file).stem.removeprefix("test_")
    return _FILES.index(kind) if kind in _FILES else len(_FILES), line or 0, name
