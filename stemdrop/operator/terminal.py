"""An operator's terminal, as every command that looks after what runs writes to it."""

import os
import sys
from collections.abc import Iterable
from io import TextIOWrapper
from urllib.parse import urlsplit

from stemdrop.settings import Settings


def say(lines: Iterable[str]) -> None:
    """What the locale cannot write is a question mark, and no traceback."""
    write("".join(f"{line}\n" for line in lines))


def write(text: str) -> None:
    """The text as it is, at once; likewise."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    sys.stdout.write(text)
    sys.stdout.flush()


def sorry(why: object, code: int) -> int:
    """One line on standard error; returns the exit code."""
    sys.stderr.write(f"stemdrop: {why}\n")
    return code


def nobody_reads() -> int:
    """Whoever read has read enough: nothing more is written (docs.python.org, 'Note on SIGPIPE')."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def redis_place(settings: Settings) -> str:
    """Where Redis is, without its password."""
    parts = urlsplit(settings.redis_url)
    return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
