"""What processes and Redis have used, out of `/proc` and `INFO`, and what machine this is."""

import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self

from redis.asyncio import Redis

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(*pids: int) -> float:
    """Processor seconds that processes have used, user and system, with all their children (proc(5))."""
    return sum(_cpu_s(pid) for parent in pids for pid in family(parent))


def _cpu_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text()
    # its own, and that of the children that have ended
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) / _TICKS_PER_S


def family(pid: int) -> Iterator[int]:
    """Yield a process and its children that run, theirs too."""
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield from family(int(child))


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process and its children, in MB: RSS, and PSS, the share of what several processes hold."""

    rss: float
    pss: float

    def __str__(self) -> str:
        return f"{self.rss:.0f} MB (PSS {self.pss:.0f})"


def memory(pid: int) -> Memory:
    """Return what they hold now."""
    texts = [Path(f"/proc/{one}/smaps_rollup").read_text() for one in family(pid)]
    return Memory(*(sum(_megabytes(text, name) for text in texts) for name in ("Rss", "Pss")))


def reset_peak(pid: int) -> None:
    """Let the peak of each of them begin anew (proc(5), `clear_refs`)."""
    for one in family(pid):
        Path(f"/proc/{one}/clear_refs").write_text("5")


def peak_mb(pid: int) -> float:
    """Return the most memory that they have held, in MB; the sum of the peaks where there are several."""
    return sum(_megabytes(Path(f"/proc/{one}/status").read_text(), "VmHWM") for one in family(pid))


def own_mb(pid: int) -> float:
    """Return the memory that no file stands behind: without the program's code."""
    return _megabytes(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Anonymous")


def _megabytes(text: str, name: str) -> float:
    line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1.024e-3


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


def percentile(values: Sequence[float], part: float) -> float:
    """The value that so great a part of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def median_ratio(values: Sequence[float], baselines: Sequence[float]) -> float:
    """The median of the ratios of rounds, in each of which both were measured one after the other."""
    return median(value / baseline for value, baseline in zip(values, baselines, strict=True))


def machine(server: Mapping[str, Any]) -> str:
    """Describe the machine in one line. `server` is the section of that name in Redis' INFO."""
    text = Path("/proc/cpuinfo").read_text()
    models = {line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")}
    name = server.get("server_name", "redis").capitalize()
    redis_version = server.get(f"{name.lower()}_version", server["redis_version"])
    cores = len(os.sched_getaffinity(0))
    return (
        f"{' and '.join(sorted(models)) or platform.machine()}, {cores} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {name} {redis_version}"
    )


def print_now(text: str) -> None:
    """Write a line to the terminal, or the file that stands for it, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
