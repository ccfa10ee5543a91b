"""Generates docs/metrics.md from the definitions of all metrics."""

from stemdrop.observability.metric_definitions import METRICS, OTHER, Kind, Label, Metric

_HEAD = """\
# Metrics

<!-- written by `make docs` from stemdrop/observability/metric_definitions.py -->

`GET /metrics` of any webhook answers in Prometheus' text format, with the figures of all bots, webhooks and
workers. They are stored in Redis, so a restart loses none of them.

- **Two webhooks report the same figures.** Take `max`, never `sum`, over `instance`, as the rules and the
  dashboard in [ops/](../ops/README.md) do.
- While Redis does not answer, `/metrics` answers 503 and Prometheus has `up == 0`.
- The figures are read once a second at most; more frequent requests get the same figures.
- Moves of a job are counted exactly once. Everything else is written once a second: a process that is
  killed loses its last second of counts.
- The metrics hold no secret and no personal data: no name, chat, song or link. They do show how much is
  going on, so keep them from the internet; the `https` profile passes only the public paths on.
- Counters and histograms start with the first start of stemdrop and last as long as the data in Redis.

"""


def metrics_page() -> str:
    """Return the page as Markdown."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|", *map(_row, METRICS)]
    return _HEAD + "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    kind = metric.kind.value
    if metric.buckets:
        kind += f", up to {', '.join(f'{bound:g}' for bound in metric.buckets)}"
    labels = "; ".join(_described(metric, label) for label in metric.labels)
    meaning = metric.meaning.replace("|", "\\|")
    return f"| `{metric.full_name}` | {kind} | {labels} | {meaning} |"


def _described(metric: Metric, label: Label) -> str:
    """List the label's values; `OTHER` only for codes, since the API may introduce new ones."""
    values = label.values + ((OTHER,) if metric.kind is Kind.COUNTER and "400" in label.values else ())
    return f"`{label.name}`" + (": " + ", ".join(f"`{value}`" for value in values) if values else "")
