"""The bench's records, in order: calls of the bot, calls to the separation API, callbacks, states of jobs.

Only the latest records are kept. They hold no secret: the tokens of links are cut out,
and no headers are recorded.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sandbox.telegram.bounded_log import BoundedLog

_MAX_CONTENT_BYTES = 256 * 1024  # of one record's parameters, and of its answer
# The token of a callback or source link is enough to use the link.
_SIGNED = re.compile(r"(/(?:callback|source)/)[\w.-]+")
_SECRET_FIELDS = frozenset({"secret_token"})
_HIDDEN = "…"
# Content with a secret has one of these words in its JSON.
_SECRET_WORDS = ("/callback/", "/source/", *_SECRET_FIELDS)


class RecordKind(StrEnum):
    BOT = "bot"  # a call of the bot to Telegram
    SEPARATION = "separation"  # a call of stemdrop to the separation API
    CALLBACK = "callback"  # a callback of the separation service to stemdrop
    JOB = "job"  # a job moved on


@dataclass(frozen=True)
class Record:
    """One line of the bench.

    `name` is the method, the endpoint or the job's state. `time` is the end of the call, in Unix seconds.
    `status` is the HTTP status, None without an answer. `fault` names the injected fault. `job_id` and
    `task_id` are empty where they are not known.
    """

    number: int
    kind: RecordKind
    name: str
    time: float
    parameters: Any = None
    status: int | None = None
    description: str = ""
    fault: str | None = None
    answer: Any = None
    job_id: str = ""
    task_id: str = ""


class Records:
    """The latest records. Records and changes of jobs share one sequence of numbers."""

    def __init__(self, on_change: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        self._on_change = on_change
        self._clock = clock
        self._kept: BoundedLog[Record] = BoundedLog()
        self.last_number = 0

    def advance(self) -> int:
        """Return the next number, and call `on_change`."""
        self.last_number += 1
        self._on_change()
        return self.last_number

    def add(
        self,
        kind: RecordKind,
        name: str,
        *,
        parameters: Any = None,
        answer: Any = None,
        **more: Any,  # fields of `Record`
    ) -> None:
        shown, time_now = _shown(parameters), self._clock()
        self._kept.append(Record(self.advance(), kind, name, time_now, shown, answer=_shown(answer), **more))

    def after(self, number: int) -> list[Record]:
        """Return the records with a higher number, the oldest first."""
        return [record for _, record in self._kept.after(0) if record.number > number]


def _shown(content: Any) -> Any:
    """Return the content without secrets, or its size where it is too large to show."""
    text = json.dumps(content)
    if len(text) > _MAX_CONTENT_BYTES:
        return {"size_bytes": len(text)}
    copied = json.loads(text)
    # most content has none, and looking at each of its values takes longer than all else here
    return _without_secrets(copied) if any(word in text for word in _SECRET_WORDS) else copied


def _without_secrets(content: Any) -> Any:
    if isinstance(content, str):
        return _SIGNED.sub(rf"\1{_HIDDEN}", content)
    if isinstance(content, dict):
        return {
            name: _HIDDEN if name in _SECRET_FIELDS else _without_secrets(value)
            for name, value in content.items()
        }
    return [_without_secrets(value) for value in content] if isinstance(content, list) else content
