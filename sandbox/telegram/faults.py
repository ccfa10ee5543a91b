"""Injected faults: errors of the network and of Telegram's servers.

A test adds a fault; the next matching call of the bot meets it. Lasting conditions (a user blocks the bot, a
group migrates) are state, not faults: see `sandbox.telegram.membership`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sandbox.pending_faults import PendingFault, PendingFaults

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


@dataclass(kw_only=True)
class Fault(PendingFault):
    """A fault of the calls of `method` in a chat (None: any chat)."""

    kind: FaultKind
    method: str | None = None
    chat_id: int | None = None
    retry_after_s: int = 1
    bytes_per_s: int = 64 * 1024
    delay_s: float = 5

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


class Faults(PendingFaults[Fault]):
    """The faults that calls of the bot will meet."""

    def add(self, kind: FaultKind, **fields: Any) -> Fault:
        """Let the next `times` calls fail (None: all); `method` None: any except getUpdates and downloads."""
        return self.put(Fault(kind=kind, **fields))

    def take(self, method: str, chat_id: int | None) -> Fault | None:
        """Return the oldest fault that matches a call whose body has been read, and count it."""
        return self._take(lambda it: it.kind != FaultKind.RESET_MID_UPLOAD and it.matches(method, chat_id))

    def take_before_body(self, method: str) -> Fault | None:
        """Return the oldest fault that matches a call whose body still arrives, and count it."""
        return self._take(lambda it: it.kind == FaultKind.RESET_MID_UPLOAD and it.matches(method, None))
