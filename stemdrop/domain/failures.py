"""Every reason for which a job fails, with what its user can do about it.

The texts are in the catalogues under `failure.<code>`; this table says which buttons each text gets.
"""

from enum import StrEnum

from stemdrop.domain.jobs import Failure, Job, Obstacle
from stemdrop.domain.results import Result


class Remedy(StrEnum):
    RETRY = "retry"  # the same again may work
    OTHER_MODE = "other_mode"  # another way of splitting may work


# Codes that are handled in their own way; `provider/sunoapi/codes.py` maps the providers' spellings to them.
NO_CREDITS, TOO_BUSY = 402, 429
# codes of a provider that may take the same song later
PASSING_CODES = frozenset({str(TOO_BUSY), "unreachable"})
# Codes with which a provider refuses every order for now: no key, no credits, maintenance.
CLOSED_CODES = frozenset({401, NO_CREDITS, 403, 455})
# Codes for a problem of the song, which matters more to the user than another provider's refusal.
SONG_CODES = frozenset({"400", "413", "422", "451"})


def more_helpful(earlier: str, later: str) -> str:
    """Return which of two providers' codes a user is told: `earlier` if it is about the song, or `later`."""
    return earlier if earlier in SONG_CODES else later


_RETRY, _OTHER = (Remedy.RETRY,), (Remedy.OTHER_MODE,)
# the user must send another file
_NONE: tuple[Remedy, ...] = ()

REMEDIES: dict[str, tuple[Remedy, ...]] = {
    # codes of the providers (callback page, create endpoint, and codes that clients have met)
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
    # our own codes
    "timeout": _RETRY,
    "lost": _RETRY,
    "unreachable": _RETRY,
    "empty": _OTHER,
    "unknown_form": _NONE,
    "source_gone": _NONE,
    "over_limit": _RETRY,
    "dearer": _RETRY,  # the provider whose price was shown refused; the others cost more
    "internal": _RETRY,
    "undeliverable": _RETRY,
    **dict.fromkeys(Obstacle, _NONE),
}


# the failure of a job whose next call would exceed its account's credits of the day
OVER_LIMIT = Failure("over_limit", charged=False)
# the failure of a job for which all providers left cost more than its user has agreed to
DEARER = Failure("dearer", charged=False)


def remedies(failure: Failure) -> tuple[Remedy, ...]:
    """Return the remedies for a failure; an unknown code may be tried again."""
    return REMEDIES.get(failure.code, _RETRY)


def failure_of(result: Result) -> Failure | None:
    """Return why a job with this result fails; `None` when there are stems to deliver."""
    if not result.is_success:
        return Failure(str(result.code), charged=not result.is_refunded)
    if result.stems:
        return None
    return Failure("unknown_form", charged=True) if result.shape else Failure("empty", charged=True)


def undeliverable(job: Job) -> Failure:
    """Return the failure of a job that has stems which cannot be sent now."""
    return Failure("undeliverable", charged=not job.cached)
