"""Faults on demand: what the network and Telegram's servers do to a bot on a bad day.

A test adds a fault; the bot's door takes it when a matching call comes. Lasting conditions (a user blocks
the bot, a group migrates) are not faults but state: see `sandbox.telegram.person_actions`.
"""

from dataclasses import dataclass
from enum import StrEnum

DOWNLOAD = "download"  # stands for GET /file/bot…/…, which is not a method


class FaultKind(StrEnum):
    TOO_MANY_REQUESTS = "too_many_requests"  # 429 with retry_after
    SERVER_ERROR = "server_error"  # 500, JSON
    BAD_GATEWAY = "bad_gateway"  # 502 with an HTML body, as Telegram's front servers answer
    TIMEOUT_BEFORE = "timeout_before"  # never answers, nothing is done
    TIMEOUT_AFTER = "timeout_after"  # does it, never answers
    RESET_BEFORE = "reset_before"  # connection reset, nothing is done
    RESET_AFTER = "reset_after"  # does it, then resets the connection
    RESET_MID_UPLOAD = "reset_mid_upload"  # resets while the body is still coming; knows no chat yet
    BLOCKED = "blocked"  # 403 bot was blocked by the user, this once
    FILE_GONE = "file_gone"  # getFile 400, download 404
    SLOW = "slow"  # a download trickles at `bytes_per_s`
    RESET_MID_DOWNLOAD = "reset_mid_download"  # half the bytes, then reset


ONLY_DOWNLOADS = frozenset({FaultKind.SLOW, FaultKind.RESET_MID_DOWNLOAD})


@dataclass
class Fault:
    """One order: what goes wrong, for which calls, how often. `hits` counts how often it has happened."""

    kind: FaultKind
    method: str | None = None
    chat_id: int | None = None
    times: int | None = 1
    retry_after_s: int = 1
    bytes_per_s: int = 64 * 1024
    hits: int = 0

    def matches(self, method: str, chat_id: int | None) -> bool:
        """`method` None means any method but getUpdates, which a poller calls all the time, and no
        download."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.chat_id is not None and self.chat_id != chat_id:
            return False
        if self.kind in ONLY_DOWNLOADS:
            return method == DOWNLOAD
        if self.method is None:
            return method not in ("getUpdates", DOWNLOAD)
        return self.method == method


class Faults:
    """The faults ordered so far, oldest first."""

    def __init__(self) -> None:
        self._orders: list[Fault] = []

    def add(
        self,
        kind: FaultKind,
        *,
        method: str | None = None,
        chat_id: int | None = None,
        times: int | None = 1,
        retry_after_s: int = 1,
        bytes_per_s: int = 64 * 1024,
    ) -> Fault:
        """Let the next `times` matching calls (None: all, until `clear()`) go wrong. `method` is the Bot
        API's name or `"download"`; None is any method except getUpdates and downloads. The returned order
        counts its hits."""
        order = Fault(kind, method, chat_id, times, retry_after_s, bytes_per_s)
        self._orders.append(order)
        return order

    def clear(self) -> None:
        """From now on all goes well."""
        self._orders.clear()

    def take(self, method: str, chat_id: int | None) -> Fault | None:
        """The oldest fault that matches a call whose body has been read; it counts as happened."""
        return self._take([o for o in self._orders if o.kind != FaultKind.RESET_MID_UPLOAD], method, chat_id)

    def take_before_body(self, method: str) -> Fault | None:
        """The same for a call whose body is still coming."""
        return self._take([o for o in self._orders if o.kind == FaultKind.RESET_MID_UPLOAD], method, None)

    def _take(self, orders: list[Fault], method: str, chat_id: int | None) -> Fault | None:
        for order in orders:
            if order.matches(method, chat_id):
                order.hits += 1
                return order
        return None
