"""The job that the current asyncio task works on, which the JSON log adds to every line of that task.

Tasks and threads that the asyncio task starts inherit it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Log fields by name; replaced and never changed in place, since other tasks may hold the same dict.
_fields: ContextVar[dict[str, str]] = ContextVar("log_fields", default={})  # noqa: B039


def bind_job(job_id: str = "", task_id: str = "") -> None:
    """Name the job in all further log lines of this asyncio task or `job_context` block.

    An empty argument keeps the value that was bound before, unless that belongs to another job.
    """
    before = _fields.get()
    now = dict(before)
    if job_id and job_id != before.get("job"):
        now = {"job": job_id}
    if task_id:
        now["task_id"] = task_id
    _fields.set(now)


@contextmanager
def job_context(job_id: str = "", task_id: str = "") -> Iterator[None]:
    """Name this job, or none, in the log lines of the block; the outer job is named again after it."""
    token = _fields.set({})
    bind_job(job_id, task_id)
    try:
        yield
    finally:
        _fields.reset(token)


def add_job_fields(record: logging.LogRecord) -> bool:
    """Add `job` and `task_id` to a log record; a job that its message names wins. Accepts every record."""
    fields = _fields.get()
    if isinstance(record.msg, str) and record.msg.startswith("job %s") and isinstance(record.args, tuple):
        named = str(record.args[0]) if record.args else ""
        fields = fields if fields.get("job") == named else {"job": named}
    for name, value in fields.items():
        setattr(record, name, value)
    return True
