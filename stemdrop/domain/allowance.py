"""The daily account: what one user may spend of the operator's credits in a day. Days are UTC days.

The counting itself is part of a job's atomic steps (`scripts.py`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Allowance:
    """Credits of one account today; `limit` 0 means that there is none."""

    spent: int
    limit: int
    renews_in_s: float

    @property
    def left(self) -> int:
        """Credits that may still be spent today; only with a limit."""
        return max(0, self.limit - self.spent)


def day_of(now: float) -> str:
    """The UTC day of a time in Unix seconds, as ISO date."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def renews_in(now: float) -> float:
    """Seconds until the next UTC day begins."""
    moment = datetime.fromtimestamp(now, UTC)
    next_day = datetime.combine(moment.date() + timedelta(days=1), datetime.min.time(), UTC)
    return (next_day - moment).total_seconds()
