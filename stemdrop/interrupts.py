"""Makes Ctrl-C end a program silently, with the exit code 130, even while modules are imported."""

import importlib
import os
import signal
import sys
from typing import NoReturn

INTERRUPTED = 130
"""The exit code after Ctrl-C (POSIX shells: 128 and the number of the signal)."""


def run_program(module: str) -> NoReturn:
    """Import `module`, call its `main()` and end the process with the exit code that it returns.

    Until `main` calls `heed`, Ctrl-C ends the process at once: there is nothing to clean up yet, and an
    exception within an import can be lost or show a traceback. A program that was started with Ctrl-C ignored
    (`nohup`) keeps ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    try:
        code = importlib.import_module(module).main()
    except KeyboardInterrupt:
        code = INTERRUPTED
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _end)  # the command has cleaned up
    sys.exit(code)


def heed() -> None:
    """Let Ctrl-C raise KeyboardInterrupt from now on, so that a command can clean up."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: object) -> NoReturn:
    os._exit(INTERRUPTED)
