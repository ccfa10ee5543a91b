"""`stemdrop jobs ledger`: prints all create calls of a period, for the operator's accounts."""

import argparse
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from io import TextIOWrapper
from typing import Any

from stemdrop.operator.call_data import (
    CSV_FIELDS,
    TOTAL_HEADINGS,
    Totals,
    call_facts,
    csv_line,
    csv_row,
    total_rows,
)
from stemdrop.operator.tables import table_lines
from stemdrop.operator.terminal import print_lines, tolerant_stdout
from stemdrop.storage.create_calls import CreateCall, CreateCalls
from stemdrop.storage.keys import CALL_LIFETIME_S, DAY_S

_DAYS = 30
_MOST_DAYS = CALL_LIFETIME_S // DAY_S
TEXT = "print every create call of the last 30 days as CSV: who was asked, and what it cost"


def add_ledger_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since",
        type=_since,
        default=str(_DAYS),
        metavar="DAYS|DATE",
        help=f"a number of days, or a date as 2026-01-31 (UTC); default: {_DAYS}, at most {_MOST_DAYS}",
    )
    parser.add_argument("--summary", action="store_true", help="print the totals of each provider instead")


async def print_ledger(args: argparse.Namespace, calls: CreateCalls) -> int:
    """Print the calls one by one as they are read, or their totals; returns the exit code."""
    found = calls.since(args.since)
    if args.summary:
        print_lines(await _summary(found, is_json=args.json))
    elif args.json:
        await _print_json(found)
    else:
        await _print_csv(found)
    return 0


async def _print_csv(calls: AsyncIterator[CreateCall]) -> None:
    output = sys.stdout
    if isinstance(output, TextIOWrapper):
        output.reconfigure(encoding="utf-8", newline="")
    output.write(csv_line(list(CSV_FIELDS)))
    async for call in calls:
        output.write(csv_line(csv_row(call)))
    output.flush()


async def _print_json(calls: AsyncIterator[CreateCall]) -> None:
    output, start = tolerant_stdout(), "[\n"
    async for call in calls:
        output.write(f"{start}  {json.dumps(call_facts(call))}")
        start = ",\n"
    output.write("[]\n" if start == "[\n" else "\n]\n")
    output.flush()


async def _summary(calls: AsyncIterator[CreateCall], *, is_json: bool) -> list[str]:
    totals: dict[str, Totals] = {}
    async for call in calls:
        totals.setdefault(call.provider, Totals()).add(call)
    if is_json:
        facts: dict[str, Any] = {name: asdict(it) for name, it in totals.items()}
        return [json.dumps(facts, indent=2)]
    return table_lines(TOTAL_HEADINGS, total_rows(totals)) or ["No provider was asked."]


def _since(text: str) -> float:
    """Return the Unix time from which calls are listed."""
    try:
        if text.isascii() and text.isdigit() and 0 < int(text) <= _MOST_DAYS:
            return (datetime.now(UTC) - timedelta(days=int(text))).timestamp()
        return datetime.combine(date.fromisoformat(text), time(), UTC).timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a number of days, at most {_MOST_DAYS}, or a date as 2026-01-31"
        ) from None
