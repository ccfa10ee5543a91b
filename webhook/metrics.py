"""`GET /metrics`: everything that is measured, over all processes, in Prometheus' words.

Whichever webhook is asked tells the whole: two that are scraped tell the same twice.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from importlib.metadata import version
from itertools import product
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from stemdrop.observability import metric_definitions
from stemdrop.observability.metric_definitions import METRICS, Kind, Metric
from stemdrop.storage.snapshot import Snapshot, Snapshots
from webhook.errors import refusals

# Who asks more often is told the same: strangers cannot keep Redis busy.
FRESH_S = 1.0

Samples = dict[tuple[str, ...], float]


def metrics_router(snapshots: Snapshots, *, expects_callbacks: bool) -> APIRouter:
    """The route. `expects_callbacks`: whether PUBLIC_URL is set."""
    router = APIRouter()

    async def look() -> bytes:
        return exposition(await snapshots.look(), expects_callbacks=expects_callbacks)

    latest = Latest(look)

    @router.get(
        "/metrics",
        responses=refusals(503),
        response_class=PlainTextResponse,
    )
    async def tell() -> Response:
        return Response(await latest.get(), media_type=CONTENT_TYPE_LATEST)

    return router


class Latest:
    """One look at a time, and one a second, however many ask; what it came to is told to all of them."""

    def __init__(self, look: Callable[[], Coroutine[Any, Any, bytes]], fresh_s: float = FRESH_S) -> None:
        self._look = look
        self._fresh_s = fresh_s
        self._looking: asyncio.Task[bytes] | None = None
        self._began_at = 0.0

    async def get(self) -> bytes:
        """Raises what looking raises."""
        age_s = time.monotonic() - self._began_at
        if self._looking is None or (self._looking.done() and age_s >= self._fresh_s):
            self._began_at = time.monotonic()
            self._looking = asyncio.create_task(self._look())
            # that nobody waits for it any more is no reason to complain of how it ended
            self._looking.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return await asyncio.shield(self._looking)


def exposition(snapshot: Snapshot, *, expects_callbacks: bool) -> bytes:
    """What was seen as Prometheus reads it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Seen(snapshot, expects_callbacks))
    return generate_latest(registry)


class _Seen(Collector):
    def __init__(self, snapshot: Snapshot, expects_callbacks: bool) -> None:
        self._sight = snapshot
        self._gauges = _gauges(snapshot) | {
            metric_definitions.EXPECTS_CALLBACKS: {(): float(expects_callbacks)}
        }

    def collect(self) -> Iterator[Family]:
        """Every metric, also those of which there is nothing yet: rules can ask for all of them."""
        counted = _by_metric(self._sight.counters)
        for metric in METRICS:
            yield _FAMILY[metric.kind](metric, counted.get(metric.name, {}) | self._gauges.get(metric, {}))


def _gauges(snapshot: Snapshot) -> dict[Metric, Samples]:
    states = {metric: _zeros(metric) for metric in (metric_definitions.JOBS, metric_definitions.OLDEST_JOB)}
    for (state, mode), standing in snapshot.jobs.items():
        states[metric_definitions.JOBS][state, mode] = standing.count
        states[metric_definitions.OLDEST_JOB][state, mode] = standing.oldest_s
    tasks, oldest = _zeros(metric_definitions.QUEUE_TASKS), _zeros(metric_definitions.QUEUE_OLDEST)
    for queue, backlog in snapshot.queues.items():
        name = queue.value.rpartition(":")[2]
        oldest[name,] = backlog.oldest_s
        for state in ("waiting", "running", "put_off"):
            tasks[name, state] = getattr(backlog, state)
    present, troubled = _zeros(metric_definitions.PROCESSES), _zeros(metric_definitions.IN_TROUBLE)
    for process in snapshot.processes:
        role = metric_definitions.PROCESSES.labels[0].bounded(process.role)
        present[role,] = present.get((role,), 0) + 1
        troubled[role,] = troubled.get((role,), 0) + bool(process.trouble)
    given_up = _zeros(metric_definitions.GIVEN_UP)
    for kind, count in snapshot.given_up.items():
        given_up[metric_definitions.GIVEN_UP.labels[0].bounded(kind),] = count
    return states | {
        metric_definitions.QUEUE_TASKS: tasks,
        metric_definitions.QUEUE_OLDEST: oldest,
        metric_definitions.PROCESSES: present,
        metric_definitions.IN_TROUBLE: troubled,
        metric_definitions.GIVEN_UP: given_up,
        metric_definitions.REDIS_BYTES: {(): snapshot.memory_bytes},
        metric_definitions.REDIS_LIMIT: {(): snapshot.memory_limit_bytes},
        metric_definitions.INFO: {(version("stemdrop"),): 1},
    }


def _by_metric(counters: dict[str, float]) -> dict[str, Samples]:
    """The fields of `Counts`, taken apart."""
    found: dict[str, Samples] = {}
    for field, value in counters.items():
        name, *labels = field.split("|")
        found.setdefault(name, {})[tuple(labels)] = value
    return found


def _zeros(metric: Metric) -> Samples:
    """Nothing, of everything that is foreseen: what comes first is then seen to come."""
    return dict.fromkeys(product(*(label.values for label in metric.labels)), 0.0)


def _gauge(metric: Metric, samples: Samples) -> Family:
    family = GaugeMetricFamily(metric.full_name, metric.meaning, labels=[it.name for it in metric.labels])
    for labels, value in samples.items():
        if len(labels) == len(metric.labels):
            family.add_metric(labels, value)
    return family


def _counter(metric: Metric, samples: Samples) -> Family:
    family = CounterMetricFamily(metric.full_name, metric.meaning, labels=[it.name for it in metric.labels])
    for labels, value in (_zeros(metric) | samples).items():
        if len(labels) == len(metric.labels):
            family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, samples: Samples) -> Family:
    """Counted by the one bucket that holds it; told as how many are no longer than each bound."""
    family = HistogramMetricFamily(metric.full_name, metric.meaning, labels=[it.name for it in metric.labels])
    bounds = [*(f"{bound:g}" for bound in metric.buckets), "+Inf"]
    for labels in sorted({labels[:-1] for labels in samples if len(labels) == len(metric.labels) + 1}):
        total, buckets = 0.0, []
        for bound in bounds:
            total += samples.get((*labels, bound), 0)
            buckets.append((bound, total))
        family.add_metric(labels, buckets, samples.get((*labels, "ms"), 0) / 1000)
    return family


_FAMILY: dict[Kind, Callable[[Metric, Samples], Family]] = {
    Kind.GAUGE: _gauge,
    Kind.COUNTER: _counter,
    Kind.HISTOGRAM: _histogram,
}
