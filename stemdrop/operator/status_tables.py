"""The state of the whole system as lines for a terminal. No I/O."""

from collections.abc import Iterator, Mapping
from typing import Any

from stemdrop.observability import metric_definitions as metrics
from stemdrop.observability.printable_text import printable
from stemdrop.operator.job_data import seconds_since
from stemdrop.operator.job_tables import span
from stemdrop.operator.system_status import OUTCOMES, SystemStatus
from stemdrop.operator.tables import shortened, table_lines

_ACCEPTED_CALLBACKS = ("stored", "repeated")
_MEGABYTE = 1024 * 1024
_PROCESS_HEADINGS = ("PROCESS", "HOST", "PID", "VERSION", "UP", "SEEN", "STATE")
_JOB_HEADINGS = ("OPEN JOBS", "MODE", "COUNT", "OLDEST")
_PROVIDER_HEADINGS = ("PROVIDER", "API", "LEFT", "LAST HOUR", "ORDERS")
_QUEUE_HEADINGS = ("QUEUE", "WAITING", "RUNNING", "PUT OFF", "OLDEST")


def status_lines(status: SystemStatus, width: int | None = None) -> list[str]:
    """Return the lines of `stemdrop status`, none wider than `width` cells."""
    parts = [_processes(status, width), _jobs(status, width), _queues(status, width)]
    parts += [_providers(status, width)] if status.has_several else []
    lines = [line for part in (*parts, list(_figures(status))) for line in ("", *part)][1:]
    return [shortened(line, width) if width else line for line in lines]


def _processes(status: SystemStatus, width: int | None) -> list[str]:
    now = status.snapshot.at
    rows = [
        (
            it.role,
            it.host,
            str(it.pid),
            it.version,
            span(seconds_since(it.started_at, now)),
            f"{span(seconds_since(it.seen_at, now))} ago",
            f"! {it.trouble}" if it.trouble else "well",
        )
        for it in status.snapshot.processes
    ]
    missing = [f"! no {role} is running" for role in status.missing_roles]
    return [*table_lines(_PROCESS_HEADINGS, rows, width), *missing]


def _jobs(status: SystemStatus, width: int | None) -> list[str]:
    rows = [
        (state, mode, str(it.count), span(it.oldest_s))
        for (state, mode), it in sorted(status.snapshot.jobs.items())
    ]
    return table_lines(_JOB_HEADINGS, rows, width) or ["No job is open."]


def _queues(status: SystemStatus, width: int | None) -> list[str]:
    rows = [
        (
            queue.label,
            str(it.waiting),
            str(it.running),
            str(it.put_off),
            span(it.oldest_s) if it.waiting else "",
        )
        for queue, it in status.snapshot.queues.items()
    ]
    waits = [
        f"{queue.label}: put off because of: {_most_first(it.reasons)}"
        for queue, it in status.snapshot.queues.items()
        if it.reasons
    ]
    return [*table_lines(_QUEUE_HEADINGS, rows, width), *waits]


def _providers(status: SystemStatus, width: int | None) -> list[str]:
    return table_lines(_PROVIDER_HEADINGS, [_provider(status, name) for name in status.providers], width)


def _provider(status: SystemStatus, name: str) -> tuple[str, ...]:
    facts = status.provider(name)
    credits, hour, closed_s = facts["credits"], facts["last_hour"], facts["not_asked_s"]
    return (
        name,
        _reached(facts["last_try"]),
        f"{credits['left']:,} {facts['credits_unit']}, {span(credits['seen_s'])} ago" if credits else "",
        f"{hour['succeeded']} of {sum(hour.values())} succeeded",
        f"! none for {span(closed_s)}: {printable(facts['why'])}" if closed_s else "well",
    )


def _figures(status: SystemStatus) -> Iterator[str]:
    snapshot, ended, callbacks = status.snapshot, status.ended, status.counts(metrics.CALLBACKS)
    yield "Last hour  " + ", ".join(f"{ended[name]} {name}" for name in OUTCOMES)
    if failed := status.counts(metrics.JOBS_FAILED):
        yield "           failed with " + _most_first(failed)
    accepted = sum(callbacks.pop(name, 0) for name in _ACCEPTED_CALLBACKS)
    yield f"Callbacks  {accepted} accepted" + (f"; refused: {_most_first(callbacks)}" if callbacks else "")
    refusals = status.counts(metrics.API_REFUSALS)
    refused = [f"refused with {_most_first(refusals)}"] if refusals else []
    if parts := ([] if status.has_several else [_reached(status.last_try("api"))]) + refused:
        yield f"API        {'; '.join(parts)}"
    yield f"Telegram   {_reached(status.last_try('telegram'))}; {_limits(status)}"
    yield from _credits(status)
    if engine := status.abilities.engine:
        advice = status.abilities.engine_advice
        yield f"Separation own separator, engine {engine}" + (f"; better stems: {advice}" if advice else "")
    if snapshot.given_up:
        yield f"Given up   {_most_first(snapshot.given_up)} (stemdrop jobs)"
    limit = snapshot.memory_limit_bytes
    of_limit = f" of {limit / _MEGABYTE:.0f} MB" if limit else ""
    yield f"Redis      {snapshot.memory_bytes / _MEGABYTE:.1f} MB{of_limit}"


def _credits(status: SystemStatus) -> Iterator[str]:
    if status.has_several:
        return
    if credits := status.credits:
        yield f"Credits    {credits['left']:,} left, {span(credits['seen_s'])} ago"
    elif not status.abilities.is_free:
        yield "Credits    not known yet"


def _limits(status: SystemStatus) -> str:
    pause_s = status.snapshot.flood_pause_s
    waits = sum(status.counts(metrics.FLOOD_WAITS).values())
    seconds = sum(status.counts(metrics.FLOOD_SECONDS).values())
    now = f"accepts no messages for {span(pause_s)} more; " if pause_s else ""
    return f"{now}{waits} waits for its limits, {span(seconds)} in all"


def _reached(last: Mapping[str, Any] | None) -> str:
    if not last:
        return "not tried yet"
    if last["reached"]:
        return f"reached {span(last['tried_s'])} ago"
    before = "never before" if last["reached_s"] is None else f"last reached {span(last['reached_s'])} ago"
    return f"! not reached {span(last['tried_s'])} ago, {before}"


def _most_first(counters: Mapping[str, int]) -> str:
    """Return `500 ×3, timeout ×1`."""
    most = sorted(counters.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{printable(name)} ×{count}" for name, count in most)
