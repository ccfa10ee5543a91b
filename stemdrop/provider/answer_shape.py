"""Describes an answer whose stems were not recognised, without any of its values."""

import re

from stemdrop.provider.stem_urls import stem_url

# What lies deeper is not read.
MAX_DEPTH = 12


def shape_of(value: object, depth: int = 0) -> str:
    """Return the keys and types of an answer, without any of its values, in at most 600 characters."""
    if isinstance(value, dict) and depth < MAX_DEPTH:
        parts = (f"{_shape_key(name)}: {shape_of(item, depth + 1)}" for name, item in [*value.items()][:40])
        return f"{{{', '.join(parts)}}}"[:600]
    if isinstance(value, list) and depth < MAX_DEPTH:
        return f"[{len(value)} × {shape_of(value[0], depth + 1)}]"[:600] if value else "[]"
    if isinstance(value, str):
        return "URL" if stem_url(value) else "text"
    return "null" if value is None else type(value).__name__


def _shape_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_-]{1,40}", name) else "?"
