"""Reads single values of the providers' answers. A value of another type raises `BadContract`."""

from typing import Any

from stemdrop.errors import BadContract

# No provider documents how long its ids are; this is several times the longest that was seen.
MAX_ID = 128


def read_mapping(value: object, what: str = "the answer") -> dict[str, Any]:
    """Return a JSON object; an error names it as `what`."""
    if not isinstance(value, dict):
        raise BadContract(f"{what} is not an object")
    return value


def read_number(value: object, what: str) -> float:
    """Return a number; NaN and Infinity, which Python reads in JSON, are refused."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise BadContract(f"{what} is no number")
    return value


def printable_id(value: object) -> str:
    """Return an id of a task or request; empty if the value is none."""
    is_id = isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isprintable()
    return str(value) if is_id else ""
