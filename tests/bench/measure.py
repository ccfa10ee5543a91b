"""What processes and Redis have used, out of `/proc` and `INFO`, and how figures are written down."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from redis.asyncio import Redis

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has used, user and system, of all its threads (proc(5))."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / _TICKS_PER_S


def memory_mb(pid: int) -> tuple[float, float, float]:
    """Of a process: what it holds (RSS), its share of what several hold (PSS), the most that it held."""
    smaps, status = (Path(f"/proc/{pid}/{name}").read_text() for name in ("smaps_rollup", "status"))
    return _kilobytes(smaps, "Rss") / 1e3, _kilobytes(smaps, "Pss") / 1e3, _kilobytes(status, "VmHWM") / 1e3


def own_mb(pid: int) -> float:
    """Return the memory that no file stands behind: without the program's code."""
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Anonymous") / 1e3


def _kilobytes(text: str, name: str) -> float:
    line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1.024


@dataclass(frozen=True, slots=True)
class Used:
    """By Redis so far, or between two looks: commands (those in scripts too) and processor seconds."""

    commands: float
    cpu_s: float

    @classmethod
    async def by(cls, redis: Redis) -> Self:
        """Up to now."""
        stats, cpu = await redis.info("stats"), await redis.info("cpu")
        return cls(stats["total_commands_processed"], cpu["used_cpu_user"] + cpu["used_cpu_sys"])

    def __sub__(self, other: "Used") -> "Used":
        return Used(self.commands - other.commands, self.cpu_s - other.cpu_s)

    def per(self, count: float) -> "Used":
        """Divided."""
        return Used(self.commands / count, self.cpu_s / count)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `ratio` is against what `baseline` names, measured in the same run."""

    what: str
    figure: str
    baseline: str = ""
    ratio: float | None = None

    def line(self) -> str:
        """As Markdown."""
        ratio = "" if self.ratio is None else f"× {self.ratio:.2f}"
        return f"| {self.what} | {self.figure} | {ratio} | {self.baseline} |"


HEAD = f"| {' | '.join(('what', 'measured', 'ratio', 'to'))} |\n{'|---' * len(fields(Row))}|"


def percentile(values: Sequence[float], part: float) -> float:
    """The value that so great a part of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def print_now(text: str) -> None:
    """Write a line to the terminal, and to the file that was named."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
