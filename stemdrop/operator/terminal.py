"""Standard output and standard error of the operator's commands."""

import os
import sys
from collections.abc import Iterable
from io import TextIOWrapper
from typing import TextIO


def print_lines(lines: Iterable[str]) -> None:
    """Print the lines; characters that the locale cannot encode become question marks."""
    output = tolerant_stdout()
    output.write("".join(f"{line}\n" for line in lines))
    output.flush()


def tolerant_stdout() -> TextIO:
    """Return standard output, which no longer raises for characters that the locale cannot encode."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return sys.stdout


def print_error(error: object, code: int) -> int:
    """Print each line of an error on standard error; returns the exit code."""
    sys.stderr.write("".join(f"stemdrop: {line}\n" for line in str(error).splitlines()))
    return code


def on_broken_pipe() -> int:
    """Discard further output when its reader has closed the pipe (docs.python.org, 'Note on SIGPIPE')."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
