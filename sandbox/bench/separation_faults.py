"""Injected faults of the separation API: of its answers to stemdrop, and of its callbacks."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sandbox.pending_faults import PendingFault, PendingFaults

CREATE = "create"
_MOST_FAILED_TASKS = 1000  # how many are remembered


class SeparationFaultKind(StrEnum):
    API_REFUSED = "api_refused"  # `code` in the body, with HTTP status 200
    API_REFUSED_STATUS = "api_refused_status"  # `code` in the body and as HTTP status
    API_SLOW = "api_slow"  # answered after `delay_s`
    API_RESET_BEFORE = "api_reset_before"  # connection reset, no effect
    API_RESET_AFTER = "api_reset_after"  # takes effect, then resets the connection
    CALLBACK_LATE = "callback_late"  # passed on after `delay_s`
    CALLBACK_DOUBLED = "callback_doubled"  # passed on twice at the same moment
    CALLBACK_FAILED = "callback_failed"  # says that the task failed with `code`, as details do from then on
    CALLBACK_NEVER = "callback_never"  # not passed on

    @property
    def is_of_callback(self) -> bool:
        return self.startswith("callback")


@dataclass(kw_only=True)
class SeparationFault(PendingFault):
    """A fault of the calls of `method` (None: any).

    `method` is create, detail, credits, abilities or upload; faults of callbacks ignore it.
    """

    kind: SeparationFaultKind
    method: str | None = CREATE
    code: int = 500
    delay_s: float = 5


class SeparationFaults(PendingFaults[SeparationFault]):
    """The pending faults of calls and callbacks, and the tasks that the bench has reported as failed."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock)
        self._failed_tasks: OrderedDict[str, int] = OrderedDict()

    def take_call(self, method: str) -> SeparationFault | None:
        """Return the oldest fault for a call of `method`, and count the hit."""
        return self._take(lambda fault: not fault.kind.is_of_callback and fault.method in (None, method))

    def take_callback(self) -> SeparationFault | None:
        """Return the oldest fault for a callback, and count the hit."""
        return self._take(lambda fault: fault.kind.is_of_callback)

    def fail_task(self, task_id: str, code: int) -> None:
        self._failed_tasks[task_id] = code
        while len(self._failed_tasks) > _MOST_FAILED_TASKS:
            self._failed_tasks.popitem(last=False)

    def failed_with(self, task_id: str) -> int | None:
        """Return the code with which the bench has reported the task as failed."""
        return self._failed_tasks.get(task_id)
