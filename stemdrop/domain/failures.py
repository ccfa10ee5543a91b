"""Every way a job can fail: the provider's codes and reasons of ours, and what its user can do about each.

The sentences stand in the catalogues under `failure.<code>`; this table says which button they get.
"""

from enum import StrEnum

from stemdrop.domain.jobs import Failure
from stemdrop.domain.results import Result


class Remedy(StrEnum):
    """What the message of a failed job offers."""

    RETRY = "retry"  # the same again may work
    OTHER_MODE = "other_mode"  # another way of splitting may


_RETRY, _OTHER = (Remedy.RETRY,), (Remedy.OTHER_MODE,)
# something must change first: the file
_NONE: tuple[Remedy, ...] = ()

REMEDIES: dict[str, tuple[Remedy, ...]] = {
    # of the provider (its callback page, its create endpoint, and what clients have met)
    "400": _NONE,
    "401": _RETRY,
    "402": _RETRY,
    "404": _RETRY,
    "408": _RETRY,
    "409": _RETRY,
    "413": _NONE,
    "422": _OTHER,
    "429": _RETRY,
    "451": _RETRY,
    "455": _RETRY,
    "500": _RETRY,
    "501": (Remedy.RETRY, Remedy.OTHER_MODE),
    "505": _OTHER,
    "531": _RETRY,
    # of ours
    "timeout": _RETRY,
    "lost": _RETRY,
    "unreachable": _RETRY,
    "empty": _OTHER,
    "source_gone": _NONE,
    "internal": _RETRY,
    "undeliverable": _RETRY,
}


def remedies(failure: Failure) -> tuple[Remedy, ...]:
    """What can be done about it; trying again is worth it for a code that nobody knows."""
    return REMEDIES.get(failure.code, _RETRY)


def failure_of(result: Result) -> Failure | None:
    """Why a job with this result fails whatever else happens; `None` where there are stems to deliver."""
    if not result.is_success:
        return Failure(str(result.code), charged=not result.is_refunded)
    return None if result.stems else Failure("empty", charged=True)
