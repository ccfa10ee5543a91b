"""Which job the work in hand is about, so that each line of the log can say so, whoever writes it.

The subject goes with the asyncio task, and with whatever tasks and threads that starts.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# A line's field → its value; never changed in place, since other tasks may hold the same.
_subject: ContextVar[dict[str, str]] = ContextVar("subject", default={})  # noqa: B039


def about(job_id: str = "", task_id: str = "") -> None:
    """From here on, to the end of this asyncio task or `subject` block, the work is about this job.

    What is empty stays as it was, unless it was another job's.
    """
    before = _subject.get()
    now = dict(before)
    if job_id and job_id != before.get("job"):
        now = {"job": job_id}
    if task_id:
        now["task_id"] = task_id
    _subject.set(now)


@contextmanager
def subject(job_id: str = "", task_id: str = "") -> Iterator[None]:
    """Within the block the work is about this job, or about none yet; after it about what it was before."""
    before = _subject.set({})
    about(job_id, task_id)
    try:
        yield
    finally:
        _subject.reset(before)


def name_subject(record: logging.LogRecord) -> bool:
    """A filter that lets every line through, with the fields `job` and `task_id` where they are known.

    A line that begins with a job, as ours do, is about that one, whatever the work around it is about.
    """
    fields = _subject.get()
    if isinstance(record.msg, str) and record.msg.startswith("job %s") and isinstance(record.args, tuple):
        named = str(record.args[0]) if record.args else ""
        fields = fields if fields.get("job") == named else {"job": named}
    for name, value in fields.items():
        setattr(record, name, value)
    return True
