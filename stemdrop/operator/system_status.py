"""The state of the whole system: typed, and as the JSON of `stemdrop status --json`. No I/O."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stemdrop.observability.metric_definitions import (
    API_REFUSALS,
    CALLBACKS,
    CREDITS_LEFT,
    CREDITS_SEEN,
    ENDED,
    FAILED,
    FLOOD_SECONDS,
    FLOOD_WAITS,
    Metric,
)
from stemdrop.operator.job_data import seconds_since, utc
from stemdrop.storage.snapshot import Snapshot

OUTCOMES = ("delivered", "incomplete", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class LastHour:
    """The counters of the last hour, by their first label."""

    ended: dict[str, int]
    failed: dict[str, int]
    callbacks: dict[str, int]
    api_refusals: dict[str, int]
    flood_waits: dict[str, int]
    flood_wait_s: dict[str, int]


@dataclass(frozen=True, slots=True)
class CreditsSeen:
    """The credits that are left at the separation API, as last seen `seen_s` seconds ago."""

    left: float
    seen_s: int
    seen_at: str | None


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """A snapshot of Redis with the figures derived from it; `missing`: roles that no process has."""

    snapshot: Snapshot
    missing: list[str]
    last_hour: LastHour
    credits: CreditsSeen | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields of `stemdrop status --json`; times in UTC."""
        snapshot = self.snapshot
        return {
            "at": utc(snapshot.at),
            "processes": [
                {
                    "role": it.role,
                    "host": it.host,
                    "pid": it.pid,
                    "version": it.version,
                    "up_s": seconds_since(it.started_at, snapshot.at),
                    "seen_s": seconds_since(it.seen_at, snapshot.at),
                    "trouble": it.trouble,
                }
                for it in snapshot.processes
            ],
            "missing": self.missing,
            "jobs": [
                {"state": state, "mode": mode, "count": it.count, "oldest_s": round(it.oldest_s)}
                for (state, mode), it in sorted(snapshot.jobs.items())
            ],
            "queues": [
                {
                    "queue": queue.value.rpartition(":")[2],
                    "waiting": it.waiting,
                    "running": it.running,
                    "put_off": it.put_off,
                    "oldest_s": round(it.oldest_s),
                }
                for queue, it in snapshot.queues.items()
            ],
            "last_hour": asdict(self.last_hour),
            "flood_pause_s": round(snapshot.flood_pause_s),
            "credits": self.credits and asdict(self.credits),
            "given_up": snapshot.given_up,
            "redis": {
                "memory_bytes": snapshot.memory_bytes,
                "memory_limit_bytes": snapshot.memory_limit_bytes,
            },
        }


def system_status(
    snapshot: Snapshot, lately: Mapping[str, float], *, expects_callbacks: bool
) -> SystemStatus:
    """Derive the status from a snapshot and the counters of the last hour."""
    roles = ("bot", "webhook", "worker") if expects_callbacks else ("bot", "worker")
    present = {it.role for it in snapshot.processes}
    left, seen_at = snapshot.counters.get(CREDITS_LEFT.name), snapshot.counters.get(CREDITS_SEEN.name, 0.0)
    return SystemStatus(
        snapshot,
        [role for role in roles if role not in present],
        LastHour(
            ended=dict.fromkeys(OUTCOMES, 0) | _sums(lately, ENDED),
            failed=_sums(lately, FAILED),
            callbacks=_sums(lately, CALLBACKS),
            api_refusals=_sums(lately, API_REFUSALS),
            flood_waits=_sums(lately, FLOOD_WAITS),
            flood_wait_s=_sums(lately, FLOOD_SECONDS),
        ),
        None if left is None else CreditsSeen(left, seconds_since(seen_at, snapshot.at), utc(seen_at)),
    )


def _sums(counters: Mapping[str, float], metric: Metric) -> dict[str, int]:
    """Add up a metric by its first label."""
    sums: dict[str, int] = {}
    for field, value in counters.items():
        name, _, labels = field.partition("|")
        if name == metric.name and value:
            first = labels.partition("|")[0]
            sums[first] = sums.get(first, 0) + round(value)
    return sums
