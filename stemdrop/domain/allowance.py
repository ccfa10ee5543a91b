"""The credits that one account may spend in a day. Days are UTC days.

The steps of a job (`storage/script_prelude.py`) hold and return its credits.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Allowance:
    """The credits of one account today; `limit` 0 means no limit, `price` is that of a refused split."""

    spent: int
    limit: int
    renews_in_s: float
    price: int = 0

    @property
    def left(self) -> int:
        """The credits that may still be spent today; meaningless without a limit."""
        return max(0, self.limit - self.spent)


def day_of(now: float) -> str:
    """Return the UTC day of a time in Unix seconds, as ISO date."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def renews_in(now: float) -> float:
    """Return the seconds until the next UTC day begins."""
    moment = datetime.fromtimestamp(now, UTC)
    next_day = datetime.combine(moment.date() + timedelta(days=1), datetime.min.time(), UTC)
    return (next_day - moment).total_seconds()
