"""docs/metrics.md, written from the table of all metrics (`metrics.py`)."""

from stemdrop.observability.metric_definitions import METRICS, OTHER, Kind, Metric

_HEAD = """\
# What is measured

<!-- written by `make docs` from stemdrop/observability/metric_definitions.py -->

`GET /metrics` of any webhook, in Prometheus' text format. It tells the whole: bots, webhooks and workers
count into the same Redis, which forgets nothing when one of them restarts.

- **Two webhooks tell the same numbers, twice.** Take `max`, never `sum`, over `instance`: the rules and the
  dashboard in [ops/](../ops/README.md) do.
- Without Redis it answers 503, as everything does; Prometheus then has `up == 0`.
- Whoever asks more than once a second is told the same again.
- What moves a job is counted together with the move, exactly once. Everything else is written once a second:
  a process that is killed takes its last second of counts with it.
- There is no secret in it, and nothing of any person: no name, chat, song or link. It says how much is going
  on, though, so keep it from the internet: the `https` profile lets only the public paths through.
- Counters and histograms begin with the first start of the version that counts, and end with Redis' data.

"""


def metrics_page() -> str:
    """The whole page."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|", *map(_row, METRICS)]
    return _HEAD + "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    labels = [
        f"`{label.name}`" + (f": {_listed(metric, label.values)}" if label.values else "")
        for label in metric.labels
    ]
    kind = metric.kind.value
    if metric.buckets:
        kind += f", up to {', '.join(f'{bound:g}' for bound in metric.buckets)}"
    meaning = metric.meaning.replace("|", "\\|")
    return f"| `{metric.full_name}` | {kind} | {'; '.join(labels)} | {meaning} |"


def _listed(metric: Metric, values: tuple[str, ...]) -> str:
    """`OTHER` is named where it is to be expected: the API may come to give codes that nobody knows."""
    is_open = metric.kind is Kind.COUNTER and "400" in values
    return ", ".join(f"`{value}`" for value in (*values, *([OTHER] if is_open else [])))
