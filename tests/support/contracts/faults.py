"""The faults that a test can command, and those that it has commanded."""

from collections import defaultdict

from contracts.model import CHARGED, REFUNDED, Contract

FAILURES = ("never_ends", CHARGED, REFUNDED)
OF_STEMS = ("expired_link", "busy", "lost", "server_error")
_REFUSALS = ("no_key", "no_credits", "busy", "busy_with_retry_after", "maintenance", "server_error")
_KINDS = {
    "create": (*_REFUSALS, "lost", "used_key", "early_callback", *FAILURES),
    "status": (*_REFUSALS, "lost", *FAILURES),
    "list": (*_REFUSALS, "lost"),
    "upload": (*_REFUSALS, "lost"),
    "balance": (*_REFUSALS, "lost"),
    "callback": ("lost", "twice", "wrongly_signed"),
    "stem": OF_STEMS,
}


class Faults:
    """The faults that are still to come, in their order, by call."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[str]] = defaultdict(list)

    def add(self, contract: Contract, call: str, kind: str, times: int) -> None:
        """Add a fault. Raises `ValueError` for one that this contract does not have."""
        calls = {known.name for known in contract.calls} | {"stem"}
        calls |= {"callback"} if contract.callback else set()
        has_key = kind != "used_key" or kind in contract.refusals
        if call not in calls or kind not in _KINDS[call] or not has_key:
            raise ValueError(f"no {kind} of {call}")
        self._waiting[call] += [kind] * times

    def take(self, call: str, *kinds: str) -> str:
        """Return the next fault of a call and forget it, if it is one of these kinds; else an empty text."""
        waiting = self._waiting[call]
        return waiting.pop(0) if waiting and waiting[0] in kinds else ""
