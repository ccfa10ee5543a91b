"""Create calls as rows of the ledger, in CSV and in JSON, and their totals. No I/O.

No row names a person, a chat or a song.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from stemdrop.observability.printable_text import printable
from stemdrop.storage.create_calls import CallOutcome, CreateCall

CSV_FIELDS = (
    *("time", "job", "provider", "mode", "instrument", "song_seconds", "credits"),
    *("outcome", "paid", "credits_paid", "code", "task"),
)
PAID = {True: "yes", False: "no", None: "unknown"}


def call_facts(call: CreateCall) -> dict[str, Any]:
    """Return the fields of one call; `paid` and `credits_paid` are None if it may or may not be paid."""
    return {
        "time": utc(call.asked_at),
        "job": call.job_id,
        "provider": call.provider,
        "mode": call.mode,
        "instrument": call.instrument,
        "song_seconds": call.duration_s,
        "credits": call.price,
        "outcome": call.outcome.value,
        "paid": call.is_paid,
        "credits_paid": None if call.is_paid is None else call.price * call.is_paid,
        "code": call.code,
        "task": call.task_id,
    }


def csv_row(call: CreateCall) -> list[str]:
    facts = {**call_facts(call), "paid": PAID[call.is_paid]}
    return [_cell(facts[name]) for name in CSV_FIELDS]


def csv_line(cells: list[str]) -> str:
    """Return a line in the form of RFC 4180, which ends with CR LF."""
    line = StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


@dataclass(slots=True)
class Totals:
    """Sums over the calls of one provider; `maybe_paid` counts calls that may or may not be paid."""

    calls: int = 0
    succeeded: int = 0
    failed: int = 0
    not_charged: int = 0
    maybe_paid: int = 0
    credits_paid: int = 0
    credits_maybe_paid: int = 0

    def add(self, call: CreateCall) -> None:
        self.calls += 1
        self.succeeded += call.outcome is CallOutcome.SUCCEEDED
        self.failed += call.outcome is CallOutcome.FAILED
        self.not_charged += call.is_paid is False
        self.maybe_paid += call.is_paid is None
        self.credits_paid += call.price if call.is_paid else 0
        self.credits_maybe_paid += call.price if call.is_paid is None else 0


TOTAL_HEADINGS = (
    "PROVIDER",
    "CALLS",
    "SUCCEEDED",
    "FAILED",
    "NOT CHARGED",
    "OPEN",
    "CREDITS",
    "MAYBE CREDITS",
)


def total_rows(totals: Mapping[str, Totals]) -> list[list[str]]:
    return [
        [
            name,
            *map(str, (it.calls, it.succeeded, it.failed, it.not_charged, it.maybe_paid)),
            *map(str, (it.credits_paid, it.credits_maybe_paid)),
        ]
        for name, it in totals.items()
    ]


def utc(at: float) -> str | None:
    """Return a time (Unix seconds) in ISO 8601; None for 0, which means no time."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at else None


def _cell(value: object) -> str:
    """Return a cell's text, quoted if a spreadsheet would take it for a formula (OWASP, 'CSV Injection')."""
    text = "" if value is None else printable(str(value))
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
