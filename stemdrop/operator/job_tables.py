"""Jobs and given-up tasks as lines for a terminal. No I/O."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from stemdrop.domain.jobs import FINAL, Charge, Job, Mode, Source
from stemdrop.observability.printable_text import printable
from stemdrop.operator.call_data import PAID
from stemdrop.operator.job_data import JobDetails, ListedJob, ListedTask, meaning, seconds_since
from stemdrop.operator.tables import shortened, table_lines
from stemdrop.storage.create_calls import CallOutcome, CreateCall

_CHARGED = {True: "charged", False: "not charged", None: "maybe charged"}
_CREDITS = {
    Charge.NONE: "none held",
    Charge.HELD: "held",
    Charge.SETTLED: "spent",
    Charge.RETURNED: "returned",
}
_TITLE_CELLS, _NAME_CELLS = 36, 24
_JOB_HEADINGS = ("MODE", "FOR", "CHAT", "TITLE", "TASK")
# Ids are shown with so many characters, or more if two ids of a list begin alike.
_SHORT_ID = 8


def open_table(
    jobs: Sequence[ListedJob], width: int | None = None, *, has_providers: bool = False
) -> list[str]:
    """Return a table of open or delivered jobs, at most `width` cells wide if possible.

    `has_providers` adds a column with the provider of each job.
    """
    return _table("STATE", _state, jobs, width, has_providers=has_providers)


def dead_table(
    jobs: Sequence[ListedJob], width: int | None = None, *, has_providers: bool = False
) -> list[str]:
    """Return a table of jobs that failed, or that were delivered without some of their stems."""
    return _table("WHAT", lambda listed: _problem(listed.job), jobs, width, has_providers=has_providers)


def task_table(tasks: Sequence[ListedTask], width: int | None = None) -> list[str]:
    headings = ["ID", "AGE", "TASK WAS"]
    rows = [(it.letter.key, span(it.age_s), f"{it.letter.what}: {it.letter.why}") for it in tasks]
    return table_lines(headings, rows, width)


def job_page(details: JobDetails) -> list[str]:
    return _page(_facts(details))


def task_page(task: ListedTask) -> list[str]:
    letter, at = task.letter, _when(task.letter.at, task.now)
    return _page([("task", letter.key), ("was", letter.what), ("given up", at), ("because", letter.why)])


def span(seconds: float) -> str:
    """Return a duration as `45s`, `12m`, `3h05m` or `2d04h`."""
    minutes = int(seconds) // 60
    hours, days = minutes // 60, minutes // (24 * 60)
    if minutes < 1:
        return f"{int(seconds)}s"
    if hours < 1:
        return f"{minutes}m"
    return f"{hours}h{minutes % 60:02}m" if days < 1 else f"{days}d{hours % 24:02}h"


def _table(
    heading: str,
    describe: Callable[[ListedJob], str],
    jobs: Sequence[ListedJob],
    width: int | None,
    *,
    has_providers: bool,
) -> list[str]:
    rows = [
        (job_id, describe(it), span(it.age_s), *([it.job.provider] if has_providers else []), *_job_cells(it))
        for job_id, it in _with_short_ids(jobs)
    ]
    provider = ["PROVIDER"] if has_providers else []
    return table_lines(["ID", heading, "AGE", *provider, *_JOB_HEADINGS], rows, width)


def _page(facts: Iterable[tuple[str, str]]) -> list[str]:
    lines = [(label, printable(text)) for label, text in facts if text]
    longest = max(len(label) for label, _ in lines)
    return [f"{label:<{longest}}  {text}" for label, text in lines]


def _facts(details: JobDetails) -> Iterator[tuple[str, str]]:
    job, now = details.job, details.now
    yield "job", job.id
    yield "state", _state(details)
    if job.failure:
        yield "failure", f"{job.failure.code}: {meaning(job)}"
        yield "this try", _CHARGED[job.failure.charged]
    yield "mode", _mode(job)
    yield "for", _account(details)
    yield "in chat", _chat(job)
    yield "song", _song(job.source)
    yield "sent in", _when(job.created_at, now)
    yield "picked", _when(job.picked_at, now)
    yield "API asked", _when(job.create_started_at, now)
    yield "last polled", _when(job.polled_at, now)
    yield "in this state", _when(job.moved_at, now)
    yield "last shown", _when(job.shown_at, now)
    yield from ((f"call {number}", _call(call, now)) for number, call in enumerate(details.calls, 1))
    yield "split by", _split_by(details)
    yield "task", job.task_id
    if job.result:
        origin = ", kept by Telegram" if job.cached else ""
        stems = ", ".join(stem.key for stem in job.result.stems) or "no stems"
        yield "result", f"code {job.result.code}{origin}: {stems}"
    yield "sent", ", ".join(f"{key} (message {it.message_id})" for key, it in details.sent.items())
    yield "missing", ", ".join(job.missing)
    yield "refused", ", ".join(job.refused)
    yield "silent", ", ".join(job.silent)
    if job.links:
        yield "too big", f"{', '.join(stem for stem, _ in job.links)}: as links"
    yield "besides", ", ".join(sorted(details.packed))
    yield "runs", ", ".join(f"{kind} {count}" for kind, count in details.history.runs.items())
    held = _CREDITS[job.charge]
    yield "credits", f"{job.price} {held} on {job.account_day} (UTC)" if job.price else held
    yield "waits for job", job.waits_for
    yield "paid by job", job.paid_by
    yield "tried again as", details.history.retried_as


def _problem(job: Job) -> str:
    parts = [f"{job.failure.code}, {_CHARGED[job.failure.charged]}"] if job.failure else []
    parts += [f"missing: {', '.join(job.missing)}"] if job.missing else []
    parts += [f"refused: {', '.join(job.refused)}"] if job.refused else []
    return "; ".join(parts)


def _call(call: CreateCall, now: float) -> str:
    outcome = f"{call.outcome} with {call.code}" if call.code else call.outcome.value
    paid = f"{call.price} credits, paid: {PAID[call.is_paid]}"
    who = ", ".join(filter(None, (call.provider, _when(call.asked_at, now))))
    return f"{who}: {outcome}; {paid}"


def _split_by(details: JobDetails) -> str:
    """Return who split the song and what all calls for it have cost; empty if that is not known."""
    job, paid = details.job, sum(it.price for it in details.calls if it.is_paid)
    if name := next((it.provider for it in details.calls if it.outcome is CallOutcome.SUCCEEDED), ""):
        return f"{name}, for {paid} credits"
    if job.result is None or not job.result.is_success:
        return ""
    if job.paid_by:
        return f"the call of job {job.paid_by}, at no further cost"
    return "an earlier split, at no further cost" if job.cached else ""


def _state(listed: ListedJob) -> str:
    state = listed.job.state
    return f"{state}, not shown yet" if state in FINAL and not listed.is_closed else state.value


def _job_cells(listed: ListedJob) -> tuple[str, ...]:
    job = listed.job
    return (
        _mode(job).replace(Mode.SPLIT_STEM_ADVANCED, "advanced"),
        shortened(_account(listed), _NAME_CELLS),
        "private" if job.chat_id == job.account else str(job.chat_id),
        shortened(printable(job.source.title), _TITLE_CELLS),
        job.task_id,
    )


def _mode(job: Job) -> str:
    return ": ".join(part for part in (job.mode, job.instrument) if part)


def _account(listed: ListedJob) -> str:
    return f"{listed.job.account} {printable(listed.name)}".rstrip()


def _chat(job: Job) -> str:
    parts = [str(job.chat_id)]
    parts += [f"topic {job.topic_id}"] if job.topic_id else []
    parts += [f"song in message {job.source_message_id}"]
    parts += [f"answered by message {job.message_id}"] if job.message_id else []
    return ", ".join([*parts, f"language {job.language}"])


def _song(source: Source) -> str:
    parts = [" – ".join(part for part in (source.performer, source.title) if part)]
    parts += [f"{source.kind} {source.extension}"]
    parts += [f"{source.duration_s // 60}:{source.duration_s % 60:02}"] if source.duration_s else []
    parts += [f"{source.size_bytes / 1024 / 1024:.1f} MB"] if source.size_bytes else []
    return ", ".join(part for part in [*parts, f"content {source.file_unique_id}"] if part)


def _when(at: float, now: float) -> str:
    if not at:
        return ""
    local = datetime.fromtimestamp(at).astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S %Z} ({span(seconds_since(at, now))} ago)"


def _with_short_ids(jobs: Sequence[ListedJob]) -> Iterator[tuple[str, ListedJob]]:
    """Pair each job with the beginning of its id that is unambiguous in this list."""
    ids = {it.job.id for it in jobs}
    length = _SHORT_ID
    while len({job_id[:length] for job_id in ids}) < len(ids):
        length += 1
    return ((it.job.id[:length], it) for it in jobs)
