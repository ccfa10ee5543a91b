"""Every metric with the values that its labels may have. docs/metrics.md is generated from it.

`storage/counters.py` counts in Redis for all processes together, `webhook/metrics.py` answers Prometheus. No
label ever names a person, chat or song.
"""

from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from stemdrop.domain.failures import REMEDIES
from stemdrop.domain.jobs import FINAL, JobState, Mode
from stemdrop.domain.providers import KIE, PROVIDER_NAMES, SUNOAPI
from stemdrop.domain.queues import Queue, Task

# Stands for every label value that is not expected.
OTHER = "other"


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Label:
    """A label of a metric. `values` are all expected values except `OTHER`; empty: any value is allowed.

    An optional label, which must be a metric's last, is left out if its value is empty.
    """

    name: str
    values: tuple[str, ...] = ()
    is_optional: bool = False

    def bounded(self, value: str) -> str:
        """Return the value, or `OTHER` if it is not expected."""
        if self.is_optional and not value:
            return value
        return value if value in self.values or not self.values else OTHER


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric. `meaning` is its help text for operators; `buckets` are upper bounds in seconds."""

    kind: Kind
    name: str
    meaning: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """The name in Prometheus; for a histogram without `_bucket`, `_sum` or `_count`."""
        return f"stemdrop_{self.name}" + ("_total" if self.kind is Kind.COUNTER else "")

    @property
    def bounds(self) -> tuple[str, ...]:
        return (*(f"{bound:g}" for bound in self.buckets), "+Inf")

    def bucket(self, seconds: float) -> str:
        """Return the upper bound of the first bucket that holds the value."""
        return self.bounds[bisect_left(self.buckets, seconds)]

    def field(self, *values: str) -> str:
        """Return the Redis field that counts the metric with these label values."""
        if len(values) < len(self.labels) and self.labels[-1].is_optional:
            values += ("",)
        bounded = [label.bounded(value) for label, value in zip(self.labels, values, strict=True)]
        return "|".join([self.name, *bounded]).removesuffix("|")


OPEN_STATES = tuple(state.value for state in JobState if state not in FINAL and state != JobState.CHOOSING)
NO_MODE = "none"  # not chosen yet
ROLE = Label("role", ("bot", "webhook", "worker"))
TASK_LABEL = Label("task", tuple(task.value for task in Task))
_STATE_LEFT = Label("state", (JobState.CHOOSING.value, *OPEN_STATES))
_OPEN_STATE = Label("state", (*OPEN_STATES, *sorted(FINAL)))
_MODE = Label("mode", (*(mode.value for mode in Mode), NO_MODE))
_QUEUE = Label("queue", tuple(queue.label for queue in Queue))
_STEP = Label("step", ("fetch", "send"))
# The provider that a job's create call asked.
PROVIDER = Label("provider", PROVIDER_NAMES)
# The provider whose API was called. The API at SEPARATION_API_URL is stored without a name, which
# `webhook/metrics.py` adds if several providers are asked.
API = Label("provider", PROVIDER_NAMES, is_optional=True)
# The name of the API at SEPARATION_API_URL as a server.
FIRST_API = "api"
_SERVER = Label(
    "server", ("telegram", FIRST_API, *(name for name in PROVIDER_NAMES if name not in (SUNOAPI, KIE)))
)
_CALL_OUTCOMES = ("asked", "accepted", "refused", "lost", "succeeded", "failed", "refunded")
_WAIT = Label("how", ("waited", "put_off", "asked"))
_CALLBACK_OUTCOMES = (
    *("stored", "repeated", "forged", "expired", "foreign", "unknown", "bad_contract"),
    *("too_large", "too_slow", "broken_off", "unavailable"),
)
_BUCKETS_S = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)

_counter, _gauge, _histogram = (partial(Metric, kind) for kind in Kind)

JOBS = _gauge(
    "jobs",
    "Open jobs: in progress, or ended and not yet shown to the user (`delivered`, `failed`, `cancelled`)",
    (_OPEN_STATE, _MODE),
)
OLDEST_JOB = _gauge(
    "job_oldest_seconds", "How long the oldest open job has been in its state", (_OPEN_STATE, _MODE)
)
STATE_SECONDS = _histogram(
    "job_state_seconds",
    "How long jobs were in a state, observed when they leave it; in `choosing` the bot waits for the user",
    (_STATE_LEFT, _MODE),
    (*_BUCKETS_S, 1800, 3600),
)
ENDED = _counter(
    "jobs_ended",
    "Jobs that ended; `incomplete` was delivered without some stems. A job that continues after its end "
    "(missing stems fetched again, a late result) is counted again when it ends",
    (Label("outcome", ("delivered", "incomplete", "failed", "cancelled")), _MODE),
)
JOBS_FAILED = _counter(
    "jobs_failed",
    "Jobs that failed, by the code that the user was shown",
    (Label("code", tuple(REMEDIES)),),
)
CALLBACKS = _counter(
    "callbacks",
    "Callbacks by outcome. Accepted (200): `stored`, `repeated`. Refused: `forged` (link or signature), "
    "`expired` (link), `foreign` (another job's task), `unknown` (no such job), `bad_contract`, `too_large`, "
    "`too_slow`, `broken_off` (incomplete body), `unavailable` (no Redis, or no answer of the "
    "provider when it is asked for its keys; it tries again)",
    (Label("outcome", _CALLBACK_OUTCOMES),),
)
EXPECTS_CALLBACKS = _gauge(
    "callbacks_expected", "1 if PUBLIC_URL is set and every provider sends callbacks; 0: jobs are polled"
)
API_CALLS = _counter(
    "api_calls",
    "Calls of the separation API. `unreachable`: no connection; `lost`: no usable answer. `provider` is only "
    "there where PROVIDERS names others than the API at SEPARATION_API_URL",
    (
        Label("call", ("create", "detail", "credits", "upload")),
        Label("outcome", ("ok", "refused", "unreachable", "lost")),
        API,
    ),
)
API_REFUSALS = _counter(
    "api_refusals",
    "Calls that the separation API refused, by its code: 401 is the key, 402 means no credits",
    (Label("code", tuple(code for code in REMEDIES if code.isdigit())), API),
)
CREDITS_LEFT = _gauge(
    "credits_left",
    "Credits left at the separation API, as it last said, in its own unit; absent until it has answered once",
    (API,),
)
CREDITS_SEEN = _gauge(
    "credits_seen_timestamp_seconds", "When the separation API last said so (Unix time)", (API,)
)
CREATE_CALLS = _counter(
    "create_calls",
    "Create calls: each is `asked`; then `refused` (not accepted), `lost` (no answer) or `accepted`; then it "
    "has `succeeded`, `failed` (perhaps charged) or been `refunded` (failed uncharged)",
    (PROVIDER, Label("outcome", _CALL_OUTCOMES)),
)
FAIL_OVERS = _counter(
    "fail_overs", "Jobs that went to another provider, by the provider that they left", (PROVIDER,)
)
OPEN_CIRCUITS = _gauge(
    "circuit_open", "1 while a provider gets no orders, since it failed or takes none", (PROVIDER,)
)
LAST_TRY = _gauge(
    "last_try_timestamp_seconds",
    "When Telegram and the separation API were last `reached`, and when a try last `failed` (Unix time); "
    "`api` is the one at SEPARATION_API_URL, another provider has its name",
    (_SERVER, Label("outcome", ("reached", "failed"))),
)
DELIVERY_BYTES = _counter(
    "delivery_bytes",
    "Bytes of stems: `fetch` from the separation API's hosts, `send` to Telegram",
    (_STEP,),
)
DELIVERY_SECONDS = _histogram(
    "delivery_seconds",
    "How long it took to `fetch` a stem with retries, or to `send` an album with waits for flood limits",
    (_STEP,),
    _BUCKETS_S,
)
RENDERS = _counter(
    "renders",
    "Orders of remixes by how they ended; `cached`: sent from what Telegram stores, `nothing`: no stem to be "
    "heard, or too large, `refused`: the chat or Telegram takes no such file, `failed`: given up",
    (Label("outcome", ("sent", "cached", "cancelled", "nothing", "refused", "failed")),),
)
RENDER_SECONDS = _histogram("render_seconds", "How long it took to render one remix", (), _BUCKETS_S)
FETCHES = _counter(
    "stem_fetches",
    "Stems by how fetching them ended; `gone`: no stem there, `refused`: an address that is not allowed",
    (Label("outcome", ("ok", "gone", "too_big", "refused", "failed")),),
)
MIXER_SEGMENTS = _counter(
    "mixer_segments",
    "Segments of stems for the mixer: `made`, or `served` to its page",
    (Label("step", ("made", "served")),),
)
MIXER_WAIT = _histogram(
    "mixer_wait_seconds",
    "How long the mixer's page waited for a segment that it got",
    (),
    (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 20),
)
TELEGRAM_CALLS = _counter(
    "telegram_calls",
    "Calls of Telegram except polling. `flood`: asked to slow down; `gone`: blocked, kicked or no such chat",
    (Label("outcome", ("ok", "flood", "refused", "gone", "network", "failed")),),
)
FLOOD_WAITS = _counter(
    "flood_waits",
    "Waits for flood limits: `waited` in a call, `put_off` with the task, or `asked` for by Telegram (429)",
    (_WAIT,),
)
FLOOD_SECONDS = _counter("flood_wait_seconds", "How long these waits were", (_WAIT,))
QUEUE_TASKS = _gauge(
    "queue_tasks",
    "Tasks of a queue: `waiting` for a process, `running`, or `put_off` until later",
    (_QUEUE, Label("state", ("waiting", "running", "put_off"))),
)
QUEUE_OLDEST = _gauge(
    "queue_oldest_seconds", "How long the oldest waiting task has waited; 0 if none waits", (_QUEUE,)
)
TASKS_GIVEN_UP = _gauge(
    "given_up_tasks", "Tasks that were given up, until `stemdrop jobs drop` removes them", (TASK_LABEL,)
)
PROCESSES = _gauge("processes", "Running processes by role; `stemdrop up` counts as one of each", (ROLE,))
IN_TROUBLE = _gauge(
    "processes_in_trouble",
    "Running processes that cannot do their work; `stemdrop status` says why",
    (ROLE,),
)
REDIS_BYTES = _gauge("redis_memory_bytes", "Memory that Redis uses")
REDIS_LIMIT = _gauge("redis_memory_limit_bytes", "Memory that Redis may use; 0: no limit")
INFO = _gauge("info", "Always 1; the version of the webhook that answers", (Label("version"),))

METRICS = (
    *(JOBS, OLDEST_JOB, STATE_SECONDS, ENDED, JOBS_FAILED, CALLBACKS, EXPECTS_CALLBACKS),
    *(API_CALLS, API_REFUSALS, CREDITS_LEFT, CREDITS_SEEN, LAST_TRY),
    *(CREATE_CALLS, FAIL_OVERS, OPEN_CIRCUITS),
    *(DELIVERY_BYTES, DELIVERY_SECONDS, FETCHES, RENDERS, RENDER_SECONDS, MIXER_SEGMENTS, MIXER_WAIT),
    *(TELEGRAM_CALLS, FLOOD_WAITS, FLOOD_SECONDS),
    *(QUEUE_TASKS, QUEUE_OLDEST, TASKS_GIVEN_UP, PROCESSES, IN_TROUBLE, REDIS_BYTES, REDIS_LIMIT, INFO),
)
