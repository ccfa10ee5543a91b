"""Rows of the tables that `make bench` prints: what was measured, beside what, and whether that suffices."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_BEGIN, _END = "<!-- figures: written by `make bench` -->", "<!-- end of figures -->"
_COLUMNS = ("work", "measured", "baseline in the same run", "target", "")


@dataclass(frozen=True, slots=True)
class Target:
    """A value that must be at most (else at least) `limit`. `unit` follows both where they are written."""

    value: float
    limit: float
    unit: str = ""
    is_least: bool = False

    @property
    def is_met(self) -> bool:
        return self.value >= self.limit if self.is_least else self.value <= self.limit

    @property
    def promise(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {self.limit:g}{self.unit}"

    @property
    def outcome(self) -> str:
        """State what it came to, to three digits."""
        reached = f"{self.value:.3g}" if self.value < 1000 else f"{self.value:.0f}"
        return f"{reached}{self.unit}" if self.is_met else f"**{reached}{self.unit}**"


def at_least(value: float, limit: float, unit: str = "") -> Target:
    return Target(value, limit, unit, is_least=True)


def at_most(value: float, limit: float, unit: str = "") -> Target:
    return Target(value, limit, unit)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table. `baseline` was measured in the same run."""

    work: str
    measured: str
    baseline: str = ""
    targets: tuple[Target, ...] = ()

    @property
    def is_met(self) -> bool:
        return all(target.is_met for target in self.targets)

    def line(self) -> str:
        """As Markdown."""
        promises = ", ".join(target.promise for target in self.targets)
        outcomes = ", ".join(target.outcome for target in self.targets)
        verdict = f"{'met' if self.is_met else '**missed**'}: {outcomes}" if self.targets else ""
        return f"| {self.work} | {self.measured} | {self.baseline} | {promises} | {verdict} |"


def compared(work: str, measured: str, ratio: float, baseline: str) -> Row:
    """A row without a target: so many times its baseline."""
    return Row(work, measured, f"× {ratio:.2f} {baseline}")


HEAD = f"| {' | '.join(_COLUMNS)} |\n{'|---' * len(_COLUMNS)}|"


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """Say how many targets are met, and name each row that misses one."""
    aimed = [row for row in rows if row.targets]
    missed = [row for row in aimed if not row.is_met]
    if aimed:
        yield f"{len(aimed) - len(missed)} of {len(aimed)} rows with a target meet it."
    for row in missed:
        # a row that goes on with another's subject is named with it
        subjects = [it.work for it in rows[: rows.index(row) + 1] if not it.work.startswith("…")]
        name = f"{subjects[-1]} {row.work}" if row.work.startswith("…") else row.work
        wrong = "; ".join(
            f"{target.outcome}, target {target.promise}" for target in row.targets if not target.is_met
        )
        yield f"- Missed: {name}: {wrong}."


def write_figures(page: Path, lines: Sequence[str]) -> None:
    """Replace what stands between the two marks of the page."""
    before, _, rest = page.read_text("utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text(before + "\n".join([_BEGIN, "", *lines, "", _END]) + after, "utf-8")
