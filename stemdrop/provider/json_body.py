"""Reads JSON that came from outside."""

import json

from stemdrop.errors import BadContract


def parse_json(body: bytes | bytearray) -> object:
    """Return what the body holds. Raises `BadContract` if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadContract("the body is not JSON") from error
