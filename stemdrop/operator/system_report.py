"""How everything stands, for an operator: as plain data, and as lines for a screen. No I/O."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
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
from stemdrop.observability.printable_text import printable
from stemdrop.operator.job_tables import span
from stemdrop.operator.text_table import shortened, table
from stemdrop.storage.snapshot import Snapshot

Facts = dict[str, Any]

_OUTCOMES = ("delivered", "incomplete", "failed", "cancelled")
_TAKEN = ("stored", "repeated")
# Columns that may be cut where a screen is narrow, and to how many cells, in this order.
_NARROWEST = {"STATE": 8, "HOST": 6, "MODE": 8, "QUEUE": 6}
_MEGABYTE = 1024 * 1024


def status_facts(snapshot: Snapshot, lately: Mapping[str, float], *, expects_callbacks: bool) -> Facts:
    """What was seen, and counted in the last hour; times in UTC."""
    roles = ("bot", "webhook", "worker") if expects_callbacks else ("bot", "worker")
    here = {it.role for it in snapshot.processes}
    left, seen_at = snapshot.counters.get(CREDITS_LEFT.name), snapshot.counters.get(CREDITS_SEEN.name, 0.0)
    return {
        "at": _utc(snapshot.at),
        "processes": [
            {
                "role": it.role,
                "host": it.host,
                "pid": it.pid,
                "version": it.version,
                "up_s": _since(snapshot.at, it.started_at),
                "seen_s": _since(snapshot.at, it.seen_at),
                "trouble": it.trouble,
            }
            for it in snapshot.processes
        ],
        "missing": [role for role in roles if role not in here],
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
        "last_hour": {
            "ended": dict.fromkeys(_OUTCOMES, 0) | _sums(lately, ENDED),
            "failed": _sums(lately, FAILED),
            "callbacks": _sums(lately, CALLBACKS),
            "api_refusals": _sums(lately, API_REFUSALS),
            "flood_waits": _sums(lately, FLOOD_WAITS),
            "flood_wait_s": {how: round(value) for how, value in _sums(lately, FLOOD_SECONDS).items()},
        },
        "flood_pause_s": round(snapshot.flood_pause_s),
        "credits": None
        if left is None
        else {"left": left, "seen_s": _since(snapshot.at, seen_at), "seen_at": _utc(seen_at)},
        "given_up": snapshot.given_up,
        "redis": {"memory_bytes": snapshot.memory_bytes, "memory_limit_bytes": snapshot.memory_limit_bytes},
    }


def status_lines(facts: Facts, width: int | None = None) -> list[str]:
    """For a screen, no line wider than `width` cells."""
    parts = [_processes(facts, width), _jobs(facts, width), _queues(facts, width), list(_rest(facts))]
    lines = [line for part in parts for line in ("", *part)][1:]
    return [shortened(line, width) if width else line for line in lines]


def _processes(facts: Facts, width: int | None) -> list[str]:
    rows = [
        {
            "PROCESS": printable(it["role"]),
            "HOST": printable(it["host"]),
            "PID": str(it["pid"]),
            "VERSION": printable(it["version"]),
            "UP": span(it["up_s"]),
            "SEEN": f"{span(it['seen_s'])} ago",
            "STATE": f"! {it['trouble']}" if it["trouble"] else "well",
        }
        for it in facts["processes"]
    ]
    missing = [f"! no {role} is there" for role in facts["missing"]]
    return [*table(rows, width, _NARROWEST), *missing]


def _jobs(facts: Facts, width: int | None) -> list[str]:
    rows = [
        {
            "OPEN JOBS": it["state"],
            "MODE": it["mode"],
            "COUNT": str(it["count"]),
            "OLDEST": span(it["oldest_s"]),
        }
        for it in facts["jobs"]
    ]
    return table(rows, width, _NARROWEST) or ["No job is open."]


def _queues(facts: Facts, width: int | None) -> list[str]:
    rows = [
        {
            "QUEUE": it["queue"],
            "WAITING": str(it["waiting"]),
            "RUNNING": str(it["running"]),
            "PUT OFF": str(it["put_off"]),
            "OLDEST": span(it["oldest_s"]) if it["waiting"] else "",
        }
        for it in facts["queues"]
    ]
    return table(rows, width, _NARROWEST)


def _rest(facts: Facts) -> Iterator[str]:
    hour = facts["last_hour"]
    yield "Last hour  " + ", ".join(f"{hour['ended'][name]} {name}" for name in _OUTCOMES)
    if hour["failed"]:
        yield "           failed with " + _listed(hour["failed"])
    taken = sum(hour["callbacks"].get(name, 0) for name in _TAKEN)
    refused = {name: count for name, count in hour["callbacks"].items() if name not in _TAKEN}
    yield f"Callbacks  {taken} taken" + (f"; not taken: {_listed(refused)}" if refused else "")
    if hour["api_refusals"]:
        yield "API        refused with " + _listed(hour["api_refusals"])
    yield "Telegram   " + _limits(facts)
    credits = facts["credits"]
    yield "Credits    " + (
        f"{credits['left']:g} left, {span(credits['seen_s'])} ago" if credits else "not known yet"
    )
    if facts["given_up"]:
        yield f"Given up   {_listed(facts['given_up'])} (stemdrop jobs)"
    limit, used = facts["redis"]["memory_limit_bytes"], facts["redis"]["memory_bytes"]
    of = f" of {limit / _MEGABYTE:.0f} MB" if limit else ""
    yield f"Redis      {used / _MEGABYTE:.1f} MB{of}"


def _limits(facts: Facts) -> str:
    hour = facts["last_hour"]
    waits, seconds = sum(hour["flood_waits"].values()), sum(hour["flood_wait_s"].values())
    pause_s = facts["flood_pause_s"]
    now = f"asks for silence for {span(pause_s)} more" if pause_s else "takes messages"
    return f"{now}; {waits} waits for its limits, {span(seconds)} in all"


def _listed(counters: Mapping[str, int]) -> str:
    """Most first: `500 ×3, timeout ×1`."""
    most = sorted(counters.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} ×{count}" for name, count in most)


def _sums(counters: Mapping[str, float], metric: Metric) -> dict[str, int]:
    """By the first label."""
    sums: dict[str, int] = {}
    for field, value in counters.items():
        name, _, labels = field.partition("|")
        if name == metric.name and value:
            first = labels.partition("|")[0]
            sums[first] = sums.get(first, 0) + round(value)
    return sums


def _since(now: float, at: float) -> int:
    return round(max(0.0, now - at))


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
