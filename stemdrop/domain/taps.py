"""A user's tap, and what became of what it asks for."""

import math
from dataclasses import dataclass

from stemdrop.domain.allowance import Allowance

# The key of the answer when something costs more than was said; nothing was ordered.
DEARER = "tap.dearer"


@dataclass(frozen=True, slots=True)
class Ordered:
    """A tap's job to show, the key of its answer, and the account's day where credits lack."""

    job_id: str
    note: str | None = None
    over: Allowance | None = None


@dataclass(frozen=True, slots=True)
class Tapped:
    """A tap: its id, and when it was received (Unix seconds).

    By its id a tap that is handled again finds the job that it made. By its time the second of two quick taps
    finds the job of the first, even if that job had ended before the second was handled.
    """

    id: str = ""
    at: float = math.inf

    def before(self, moment: float) -> bool:
        """Whether it was received before `moment`."""
        return self.at < moment
