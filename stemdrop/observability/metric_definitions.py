"""What is measured: every metric by its name, with the values that its labels may have.

Counted in Redis for all processes together (`counts.py`), looked at (`overview.py`), and told to Prometheus
(`webhook/metrics.py`). docs/metrics.md is made of this table. No label ever names a person, chat or song.
"""

from dataclasses import dataclass
from enum import StrEnum

from stemdrop.domain.failures import REMEDIES
from stemdrop.domain.jobs import FINAL, JobState, Mode
from stemdrop.domain.queues import Queue, Task

# What every other value of a label is counted as.
OTHER = "other"
PREFIX = "stemdrop_"


class Kind(StrEnum):
    """Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Label:
    """`values` are all that it may have, `OTHER` aside; without them it is free, and few by its nature."""

    name: str
    values: tuple[str, ...] = ()

    def bounded(self, value: str) -> str:
        """The value, or what stands for all that nobody has foreseen."""
        return value if value in self.values or not self.values else OTHER


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` as it is counted; `meaning` as the operator reads it; `buckets` are upper bounds in seconds."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """As Prometheus knows it; a histogram's has `_bucket`, `_sum` and `_count` behind it."""
        return f"{PREFIX}{self.name}" + ("_total" if self.kind is Kind.COUNTER else "")

    def field(self, *values: str) -> str:
        """Under which it is counted with these values of its labels."""
        bounded = [label.bounded(value) for label, value in zip(self.labels, values, strict=True)]
        return "|".join([self.name, *bounded])


OPEN_STATES = tuple(state.value for state in JobState if state not in FINAL and state != JobState.CHOOSING)
ROLES = ("bot", "webhook", "worker")
NO_MODE = "none"  # not chosen yet
_CODES = tuple(REMEDIES)

_STATE_LEFT = Label("state", (JobState.CHOOSING.value, *OPEN_STATES))
_OPEN_STATE = Label("state", (*OPEN_STATES, *sorted(FINAL)))
_MODE = Label("mode", (*(mode.value for mode in Mode), NO_MODE))
_QUEUE = Label("queue", tuple(queue.value.rpartition(":")[2] for queue in Queue))
_ROLE = Label("role", ROLES)
_CODE = Label("code", _CODES)
_STEP = Label("step", ("fetch", "send"))
_WAIT = Label("how", ("waited", "put_off", "asked"))

JOBS = Metric(
    "jobs",
    Kind.GAUGE,
    "Jobs that are open now: under way, or ended (`delivered`, `failed`, `cancelled`) and not shown yet to "
    "their user",
    (_OPEN_STATE, _MODE),
)
OLDEST_JOB = Metric(
    "job_oldest_seconds",
    Kind.GAUGE,
    "For how long the open job that came first into its state has been there",
    (_OPEN_STATE, _MODE),
)
STATE_SECONDS = Metric(
    "job_state_seconds",
    Kind.HISTOGRAM,
    "How long jobs were in a state, noted when they leave it; `choosing` is the user's time",
    (_STATE_LEFT, _MODE),
    (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
)
ENDED = Metric(
    "jobs_ended",
    Kind.COUNTER,
    "Jobs that ended; `incomplete` was delivered without some stems. A job that goes on after its end "
    "(fetched again, a late result) ends once more",
    (Label("outcome", ("delivered", "incomplete", "failed", "cancelled")), _MODE),
)
FAILED = Metric(
    "jobs_failed", Kind.COUNTER, "Jobs that failed, by the code that their user was shown", (_CODE,)
)
CALLBACKS = Metric(
    "callbacks",
    Kind.COUNTER,
    "Callbacks by what became of them. Taken (200): `stored`, `repeated`. Refused: `forged` (link or "
    "signature), `expired` (link), `foreign` (another job's task), `unknown` (no such job), `bad_contract`, "
    "`too_large`, `too_slow`, `broken_off`. `unavailable`: Redis was away, the provider tries again",
    (
        Label(
            "outcome",
            (
                *("stored", "repeated", "forged", "expired", "foreign", "unknown", "bad_contract"),
                *("too_large", "too_slow", "broken_off", "unavailable"),
            ),
        ),
    ),
)
API_CALLS = Metric(
    "api_calls",
    Kind.COUNTER,
    "Calls of the separation API. `unreachable`: no connection; `lost`: no usable answer",
    (
        Label("call", ("create", "detail", "credits", "upload")),
        Label("outcome", ("ok", "refused", "unreachable", "lost")),
    ),
)
API_REFUSALS = Metric(
    "api_refusals",
    Kind.COUNTER,
    "Calls that the separation API refused, by its code: 401 is the key, 402 means no credits",
    (Label("code", tuple(code for code in _CODES if code.isdigit())),),
)
CREDITS_LEFT = Metric(
    "credits_left",
    Kind.GAUGE,
    "Credits that are left at the separation API, as last told; absent until it has told",
)
CREDITS_SEEN = Metric("credits_seen_timestamp_seconds", Kind.GAUGE, "When it told so (Unix time)")
DELIVERY_BYTES = Metric(
    "delivery_bytes",
    Kind.COUNTER,
    "Bytes of stems that were fetched from the separation API's hosts, and sent to Telegram",
    (_STEP,),
)
DELIVERY_SECONDS = Metric(
    "delivery_seconds",
    Kind.HISTOGRAM,
    "How long that took: `fetch` a stem, with its repetitions; `send` an album, with its waiting for "
    "Telegram's limits",
    (_STEP,),
    (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600),
)
FETCHES = Metric(
    "stem_fetches",
    Kind.COUNTER,
    "Stems by how fetching them ended; `gone`: no stem there, `refused`: an address that may not be asked",
    (Label("outcome", ("ok", "gone", "too_big", "refused", "failed")),),
)
TELEGRAM_CALLS = Metric(
    "telegram_calls",
    Kind.COUNTER,
    "Calls of Telegram, polling aside. `flood`: asked to slow down; `gone`: blocked, kicked or no such chat",
    (Label("outcome", ("ok", "flood", "refused", "gone", "network", "failed")),),
)
FLOOD_WAITS = Metric(
    "flood_waits",
    Kind.COUNTER,
    "Waits for Telegram's flood limits: `waited` within a call, `put_off` with the whole task, `asked` for "
    "by Telegram (429)",
    (_WAIT,),
)
FLOOD_SECONDS = Metric("flood_wait_seconds", Kind.COUNTER, "How long those waits were", (_WAIT,))
QUEUE_TASKS = Metric(
    "queue_tasks",
    Kind.GAUGE,
    "Tasks of a queue: `waiting` for a process, `running`, or `put_off` until a time",
    (_QUEUE, Label("state", ("waiting", "running", "put_off"))),
)
QUEUE_OLDEST = Metric(
    "queue_oldest_seconds",
    Kind.GAUGE,
    "For how long the first of the waiting tasks has waited; 0: none waits",
    (_QUEUE,),
)
GIVEN_UP = Metric(
    "given_up_tasks",
    Kind.GAUGE,
    "Tasks that were given up, until `stemdrop jobs drop` takes them off the list",
    (Label("task", tuple(task.value for task in Task)),),
)
PROCESSES = Metric(
    "processes", Kind.GAUGE, "Processes that are there, by role; `up` is one of each", (_ROLE,)
)
IN_TROUBLE = Metric(
    "processes_in_trouble",
    Kind.GAUGE,
    "Processes that are there and cannot do their work; `stemdrop status` says why",
    (_ROLE,),
)
EXPECTS_CALLBACKS = Metric(
    "callbacks_expected", Kind.GAUGE, "1 where PUBLIC_URL is set; 0: jobs are polled, no callback is to come"
)
REDIS_BYTES = Metric("redis_memory_bytes", Kind.GAUGE, "Memory that Redis uses")
REDIS_LIMIT = Metric("redis_memory_limit_bytes", Kind.GAUGE, "Memory that Redis may use; 0: no limit is set")
INFO = Metric("info", Kind.GAUGE, "Always 1; the version of the webhook that answers", (Label("version"),))

METRICS = (
    *(JOBS, OLDEST_JOB, STATE_SECONDS, ENDED, FAILED, CALLBACKS, EXPECTS_CALLBACKS),
    *(API_CALLS, API_REFUSALS, CREDITS_LEFT, CREDITS_SEEN),
    *(DELIVERY_BYTES, DELIVERY_SECONDS, FETCHES, TELEGRAM_CALLS, FLOOD_WAITS, FLOOD_SECONDS),
    *(QUEUE_TASKS, QUEUE_OLDEST, GIVEN_UP, PROCESSES, IN_TROUBLE, REDIS_BYTES, REDIS_LIMIT, INFO),
)
