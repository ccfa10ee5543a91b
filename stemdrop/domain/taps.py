"""A user's tap, and its outcome."""

import math
from dataclasses import dataclass

from stemdrop.domain.allowance import Allowance

# The key of the answer when a call costs more than the button said; nothing was ordered.
DEARER_TEXT = "tap.dearer"
# The key of the answer when no provider offers the mode any more; nothing was ordered.
NOT_OFFERED_TEXT = "tap.not_offered"


@dataclass(frozen=True, slots=True)
class Ordered:
    """The job that a tap shows, the key of its answer, and the account's allowance if that was too small."""

    job_id: str
    note: str | None = None
    over: Allowance | None = None


@dataclass(frozen=True, slots=True)
class Tapped:
    """A tap: its id, and when it was received (Unix seconds).

    The id lets a tap that is handled again find the job that it made. The time lets the second of two quick
    taps find the job of the first, even if that job had ended before the second was handled.
    """

    id: str = ""
    at: float = math.inf
