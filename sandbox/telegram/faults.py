"""Injected faults: errors of the network and of Telegram's servers.

A test adds a fault; the next matching call of the bot meets it. Lasting conditions (a user blocks the bot, a
group migrates) are state, not faults: see `sandbox.telegram.membership`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

DOWNLOAD = "download"  # the "method" of GET /file/bot…/…


class FaultKind(StrEnum):
    TOO_MANY_REQUESTS = "too_many_requests"  # 429 with retry_after
    SERVER_ERROR = "server_error"  # 500, JSON
    BAD_GATEWAY = "bad_gateway"  # 502 with an HTML body, as Telegram's front servers answer
    TIMEOUT_BEFORE = "timeout_before"  # no answer, no effect
    TIMEOUT_AFTER = "timeout_after"  # takes effect, no answer
    RESET_BEFORE = "reset_before"  # connection reset, no effect
    RESET_AFTER = "reset_after"  # takes effect, then resets the connection
    RESET_MID_UPLOAD = "reset_mid_upload"  # reset while the body arrives; `chat_id` cannot match yet
    SLOW_ANSWER = "slow_answer"  # takes effect after `delay_s`
    BLOCKED = "blocked"  # 403 bot was blocked by the user, for this call only
    NO_RIGHTS = "no_rights"  # 400 as in a group where the bot may not send, for this call only
    FILE_GONE = "file_gone"  # getFile 400, download 404
    FILE_UNAVAILABLE = "file_unavailable"  # 400, as for a file that Telegram cannot read for some seconds
    SLOW = "slow"  # a download at `bytes_per_s`
    RESET_MID_DOWNLOAD = "reset_mid_download"  # half the bytes, then reset


ONLY_DOWNLOADS = frozenset({FaultKind.SLOW, FaultKind.RESET_MID_DOWNLOAD})
ONLY_CALLS = frozenset({FaultKind.SLOW_ANSWER, FaultKind.BLOCKED, FaultKind.NO_RIGHTS})


@dataclass
class Fault:
    """A fault for the next `times` matching calls (None: all), until a time of the clock (None: no end).

    `hits` counts how often it has happened.
    """

    kind: FaultKind
    method: str | None = None
    chat_id: int | None = None
    times: int | None = 1
    retry_after_s: int = 1
    bytes_per_s: int = 64 * 1024
    until: float | None = None
    delay_s: float = 5
    hits: int = 0

    def is_over(self, now: float) -> bool:
        is_used = self.times is not None and self.hits >= self.times
        return is_used or (self.until is not None and now >= self.until)

    def matches(self, method: str, chat_id: int | None) -> bool:
        """Return whether a call meets this fault; `method` None excludes downloads and getUpdates."""
        if self.chat_id is not None and self.chat_id != chat_id:
            return False
        if self.kind in ONLY_DOWNLOADS:
            return method == DOWNLOAD
        if self.kind in ONLY_CALLS and method == DOWNLOAD:
            return False
        if self.method is None:
            return method not in ("getUpdates", DOWNLOAD)
        return self.method == method


class Faults:
    """The faults that calls of the bot will meet."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._faults: list[Fault] = []

    def add(
        self,
        kind: FaultKind,
        *,
        method: str | None = None,
        chat_id: int | None = None,
        times: int | None = 1,
        retry_after_s: int = 1,
        bytes_per_s: int = 64 * 1024,
        until: float | None = None,
        delay_s: float = 5,
    ) -> Fault:
        """Let the next `times` calls fail (None: all); `method` None: any except getUpdates and downloads."""
        fault = Fault(kind, method, chat_id, times, retry_after_s, bytes_per_s, until, delay_s)
        self._faults = [*self.pending, fault]
        return fault

    def clear(self) -> None:
        self._faults.clear()

    @property
    def pending(self) -> list[Fault]:
        """The faults that calls will still meet."""
        return [fault for fault in self._faults if not fault.is_over(self._clock())]

    def take(self, method: str, chat_id: int | None) -> Fault | None:
        """Return the oldest fault that matches a call whose body has been read, and count it."""
        return self._take([f for f in self.pending if f.kind != FaultKind.RESET_MID_UPLOAD], method, chat_id)

    def take_before_body(self, method: str) -> Fault | None:
        """Return the oldest fault that matches a call whose body still arrives, and count it."""
        return self._take([f for f in self.pending if f.kind == FaultKind.RESET_MID_UPLOAD], method, None)

    def _take(self, faults: list[Fault], method: str, chat_id: int | None) -> Fault | None:
        for fault in faults:
            if fault.matches(method, chat_id):
                fault.hits += 1
                return fault
        return None
