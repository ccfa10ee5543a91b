"""`GET /metrics`: the figures of all processes, from Redis, in Prometheus' text format.

Every webhook answers the same, so figures of two webhooks must not be added up.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from importlib.metadata import version
from itertools import product
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stemdrop.domain.providers import PROVIDER_NAMES
from stemdrop.observability import metric_definitions as metrics
from stemdrop.observability.metric_definitions import METRICS, Kind, Label, Metric
from stemdrop.storage.snapshot import Snapshot, Snapshots

# More frequent requests get the same figures, so that strangers cannot keep Redis busy.
MAX_METRICS_AGE_S = 1.0

_PROVIDERS = ("", *PROVIDER_NAMES)

# Label values → value of the sample.
Samples = dict[tuple[str, ...], float]


def metrics_route(snapshots: Snapshots, providers: Mapping[str, str], *, expects_callbacks: bool) -> Route:
    """Build the route. `expects_callbacks` tells whether all results come by callback.

    `providers` maps the name of each provider that is asked to the label that is stored with its API calls;
    the label of the API at SEPARATION_API_URL is empty.
    """

    async def render() -> bytes:
        return render_metrics(await snapshots.take(), providers, expects_callbacks=expects_callbacks)

    cache = MetricsCache(render)

    async def get_metrics(request: Request) -> Response:
        return Response(await cache.get(), media_type=CONTENT_TYPE_LATEST)

    return Route("/metrics", get_metrics)


class MetricsCache:
    """Calls `render` at most once a second and never twice at once; requests in between share its result."""

    def __init__(
        self, render: Callable[[], Coroutine[Any, Any, bytes]], max_age_s: float = MAX_METRICS_AGE_S
    ) -> None:
        self._render = render
        self._max_age_s = max_age_s
        self._rendering: asyncio.Task[bytes] | None = None
        self._started_at = 0.0

    async def get(self) -> bytes:
        age_s = time.monotonic() - self._started_at
        if self._rendering is None or (self._rendering.done() and age_s >= self._max_age_s):
            self._started_at = time.monotonic()
            self._rendering = asyncio.create_task(self._render())
            # marks its exception as retrieved, also when every request was cancelled meanwhile
            self._rendering.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._rendering)


def render_metrics(snapshot: Snapshot, providers: Mapping[str, str], *, expects_callbacks: bool) -> bytes:
    """Return every metric in Prometheus' text format."""
    return generate_latest(_SnapshotCollector(snapshot, providers, expects_callbacks))


class _SnapshotCollector(Collector):
    def __init__(self, snapshot: Snapshot, providers: Mapping[str, str], expects_callbacks: bool) -> None:
        self._providers = providers
        self._samples = _counted(snapshot.counters)
        for metric, samples in _gauges(snapshot, expects_callbacks).items():
            self._samples[metric.name] = samples
        self._samples[metrics.OPEN_CIRCUITS.name] = {
            (name,): float(snapshot.circuits[name].is_open) for name in providers
        }

    def collect(self) -> Iterator[Family]:
        """Yield every metric, also those without a value yet, so that rules can ask for all of them."""
        for metric in METRICS:
            samples = self._samples.get(metric.name, {})
            yield (
                _histogram(metric, samples)
                if metric.kind is Kind.HISTOGRAM
                else self._family(metric, samples)
            )

    def _family(self, metric: Metric, samples: Samples) -> Family:
        kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
        family = kind(metric.full_name, metric.meaning, labels=[label.name for label in metric.labels])
        samples = {_whole(metric, labels): value for labels, value in samples.items()}
        if metric.kind is Kind.COUNTER or any(label is not metrics.API for label in metric.labels):
            # all foreseen label values start at 0, so that the first event shows as an increase
            samples = dict.fromkeys(product(*map(self._foreseen, metric.labels)), 0.0) | samples
        for labels, value in samples.items():
            if len(labels) == len(metric.labels) and self._is_current(metric, labels):
                family.add_metric(self._shown(metric, labels), value)
        return family

    def _foreseen(self, label: Label) -> list[str]:
        """Return the foreseen values of a label, without the names of providers that are not asked."""
        asked = set(self._providers if label is metrics.PROVIDER else self._providers.values())
        values = (*label.values, *[""] * label.is_optional)
        return [it for it in values if it in asked or it not in _PROVIDERS]

    def _is_current(self, metric: Metric, labels: tuple[str, ...]) -> bool:
        """Return whether to show a sample: gauges of providers that are no longer asked are left out."""
        is_of_past = metrics.API in metric.labels and labels[-1] not in self._providers.values()
        return metric.kind is not Kind.GAUGE or not is_of_past

    def _shown(self, metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return the labels to show; the API at SEPARATION_API_URL is named only beside other providers."""
        if metrics.API not in metric.labels or labels[-1]:
            return labels
        first = next((name for name, stored in self._providers.items() if not stored), "")
        return (*labels[:-1], first) if first and any(self._providers.values()) else labels[:-1]


def _whole(metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels, with an empty optional label added if they were stored without it."""
    is_short = metrics.API in metric.labels and len(labels) == len(metric.labels) - 1
    return (*labels, "") if is_short else labels


def _counted(counters: dict[str, float]) -> dict[str, Samples]:
    found: dict[str, Samples] = {}
    for field, value in counters.items():
        name, *labels = field.split("|")
        found.setdefault(name, {})[tuple(labels)] = value
    return found


def _gauges(snapshot: Snapshot, expects_callbacks: bool) -> dict[Metric, Samples]:
    backlogs = {queue.label: backlog for queue, backlog in snapshot.queues.items()}
    roles = [(metrics.ROLE.bounded(process.role), process.trouble) for process in snapshot.processes]
    given_up: Counter[tuple[str, ...]] = Counter()
    for task, count in snapshot.given_up.items():
        given_up[metrics.TASK_LABEL.bounded(task),] += count
    return {
        metrics.JOBS: {key: group.count for key, group in snapshot.jobs.items()},
        metrics.OLDEST_JOB: {key: group.oldest_s for key, group in snapshot.jobs.items()},
        metrics.QUEUE_TASKS: {
            (name, state): getattr(backlog, state)
            for name, backlog in backlogs.items()
            for state in ("waiting", "running", "put_off")
        },
        metrics.QUEUE_OLDEST: {(name,): backlog.oldest_s for name, backlog in backlogs.items()},
        metrics.PROCESSES: dict(Counter((role,) for role, _ in roles)),
        metrics.IN_TROUBLE: dict(Counter((role,) for role, trouble in roles if trouble)),
        metrics.TASKS_GIVEN_UP: dict(given_up),
        metrics.EXPECTS_CALLBACKS: {(): float(expects_callbacks)},
        metrics.REDIS_BYTES: {(): snapshot.memory_bytes},
        metrics.REDIS_LIMIT: {(): snapshot.memory_limit_bytes},
        metrics.INFO: {(version("stemdrop"),): 1},
    }


def _histogram(metric: Metric, samples: Samples) -> Family:
    """Return the histogram with cumulative buckets; `Counters` counts each value in one bucket only."""
    family = HistogramMetricFamily(metric.full_name, metric.meaning, labels=[it.name for it in metric.labels])
    for labels in sorted({labels[:-1] for labels in samples if len(labels) == len(metric.labels) + 1}):
        total, buckets = 0.0, []
        for bound in metric.bounds:
            total += samples.get((*labels, bound), 0)
            buckets.append((bound, total))
        family.add_metric(labels, buckets, samples.get((*labels, "ms"), 0) / 1000)
    return family
