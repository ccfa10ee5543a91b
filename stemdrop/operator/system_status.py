"""The state of the whole system: typed, and as the JSON of `stemdrop status --json`. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import floor
from typing import Any

from stemdrop.domain.abilities import Abilities
from stemdrop.observability import metric_definitions as metrics
from stemdrop.operator.call_data import utc
from stemdrop.operator.job_data import seconds_since
from stemdrop.provider.capabilities import CAPABILITIES
from stemdrop.storage.snapshot import Snapshot

OUTCOMES = ("delivered", "incomplete", "failed", "cancelled")
# The outcomes of a create call after which no other one follows.
_CALLS_ENDED = ("succeeded", "failed", "refunded", "refused")
# Field of the JSON → the metric that is counted over the last hour.
_COUNTED = {
    "failed": metrics.JOBS_FAILED,
    "callbacks": metrics.CALLBACKS,
    "api_refusals": metrics.API_REFUSALS,
    "flood_waits": metrics.FLOOD_WAITS,
    "flood_wait_s": metrics.FLOOD_SECONDS,
}


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """A snapshot of Redis, and the counters of the last hour.

    `expects_callbacks`: a webhook is needed. `providers` are those that are asked, each with the label of its
    metrics, which is empty for the API at SEPARATION_API_URL; `free` are those of them that charge nothing.
    """

    snapshot: Snapshot
    last_hour: Mapping[str, float]
    expects_callbacks: bool
    abilities: Abilities
    providers: Mapping[str, str] = field(default_factory=dict)
    free: frozenset[str] = frozenset()

    @property
    def missing_roles(self) -> list[str]:
        roles = ("bot", "webhook", "worker") if self.expects_callbacks else ("bot", "worker")
        present = {it.role for it in self.snapshot.processes}
        return [role for role in roles if role not in present]

    @property
    def ended(self) -> dict[str, int]:
        return dict.fromkeys(OUTCOMES, 0) | self.counts(metrics.ENDED)

    @property
    def credits(self) -> dict[str, Any] | None:
        """Return the credits left, and when they were seen; None if they are unknown or nothing costs any."""
        if self.abilities.is_free:
            return None
        return self._credits("")

    @property
    def has_several(self) -> bool:
        """Whether other providers than the API at SEPARATION_API_URL are asked."""
        return any(self.providers.values())

    def provider(self, name: str) -> dict[str, Any]:
        """Return the state of one of the providers that are asked."""
        label, circuit = self.providers[name], self.snapshot.circuits[name]
        ended = {
            it: round(self.last_hour.get(metrics.CREATE_CALLS.field(name, it), 0)) for it in _CALLS_ENDED
        }
        return {
            "name": name,
            "credits": None if name in self.free else self._credits(label),
            "credits_unit": CAPABILITIES[name].balance_unit or "credits",
            "last_try": self.last_try(label or metrics.FIRST_API),
            "last_hour": ended,
            "not_asked_s": circuit.asked_again_s,
            "why": circuit.why if circuit.is_open else "",
        }

    def _credits(self, label: str) -> dict[str, Any] | None:
        left = self.snapshot.counters.get(metrics.CREDITS_LEFT.field(label))
        seen_at = self.snapshot.counters.get(metrics.CREDITS_SEEN.field(label), 0.0)
        seen_s = seconds_since(seen_at, self.snapshot.at)
        return None if left is None else {"left": floor(left), "seen_s": seen_s, "seen_at": utc(seen_at)}

    def last_try(self, server: str) -> dict[str, Any] | None:
        """Return whether a server was reached at the last try, and when; None if there was no try.

        `server` is `telegram`, `api` or the name of another provider.
        """
        times = [
            self.snapshot.counters.get(metrics.LAST_TRY.field(server, how), 0.0)
            for how in ("reached", "failed")
        ]
        reached_at, tried_at = times[0], max(times)
        if not tried_at:
            return None
        now = self.snapshot.at
        return {
            "reached": reached_at == tried_at,
            "tried_s": seconds_since(tried_at, now),
            "reached_s": seconds_since(reached_at, now) if reached_at else None,
        }

    def counts(self, metric: metrics.Metric) -> dict[str, int]:
        """Return a counter of the last hour, added up by its first label."""
        sums: dict[str, int] = {}
        for key, value in self.last_hour.items():
            name, _, labels = key.partition("|")
            if name == metric.name and value:
                label = labels.partition("|")[0]
                sums[label] = sums.get(label, 0) + round(value)
        return sums

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
            "missing": self.missing_roles,
            "jobs": [
                {"state": state, "mode": mode, "count": it.count, "oldest_s": round(it.oldest_s)}
                for (state, mode), it in sorted(snapshot.jobs.items())
            ],
            "queues": [
                {
                    "queue": queue.label,
                    "waiting": it.waiting,
                    "running": it.running,
                    "put_off": it.put_off,
                    "oldest_s": round(it.oldest_s),
                    "waits_for": dict(it.reasons),
                }
                for queue, it in snapshot.queues.items()
            ],
            "last_hour": {"ended": self.ended} | {name: self.counts(it) for name, it in _COUNTED.items()},
            "flood_pause_s": round(snapshot.flood_pause_s),
            "engine": self.abilities.engine or None,
            "credits": self.credits,
            "servers": {server: self.last_try(server) for server in ("telegram", "api")},
            "given_up": snapshot.given_up,
            "redis": {
                "memory_bytes": snapshot.memory_bytes,
                "memory_limit_bytes": snapshot.memory_limit_bytes,
            },
            "providers": [self.provider(name) for name in self.providers],
        }
