"""Runs one of the operator's commands, with the settings and the errors that all of them share."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

from stemdrop.errors import SettingsError, StemdropError, StoreUnavailable
from stemdrop.observability.logging import set_up_logging
from stemdrop.operator.terminal import on_broken_pipe, print_error
from stemdrop.settings import Settings, load_settings

log = logging.getLogger(__name__)


def run_command(
    command: Callable[[argparse.Namespace, Settings], Coroutine[None, None, int]],
    args: argparse.Namespace,
    environ: Mapping[str, str],
    *,
    on_wrong_setting: Callable[[SettingsError], None] | None = None,
) -> int:
    """Run one of the operator's commands with the settings; returns its exit code.

    The exit code is 1 for an error, 2 for wrong settings, and 130 for Ctrl-C. Errors are lines on standard
    error, unless `on_wrong_setting` prints them; only an unexpected exception is logged with its traceback.
    """
    try:
        settings = load_settings(environ, Path(".env"))
    except SettingsError as error:
        if on_wrong_setting is None:
            return print_error(error, 2)
        on_wrong_setting(error)
        return 2
    set_up_logging("ERROR", settings.log_format, settings.secrets, sys.stderr)
    try:
        return asyncio.run(command(args, settings))
    except StoreUnavailable as error:
        return print_error(f"REDIS_URL: {settings.redis_address}: {error}", 1)
    except StemdropError as error:
        return print_error(error, 1)
    except BrokenPipeError:
        return on_broken_pipe()
    except KeyboardInterrupt:
        return 130
    except Exception:
        log.exception("stopped by an unexpected error")
        return 1
