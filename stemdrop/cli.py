"""The command line: `stemdrop up | bot | webhook | worker | doctor | jobs | status | separator | sandbox`."""

import argparse
import asyncio
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stemdrop.errors import SettingsError, StemdropError
from stemdrop.observability.logging import hidden, log_crashes, set_up_logging
from stemdrop.settings import load_settings

log = logging.getLogger(__name__)

WRONG_SETTINGS = 2  # the exit code

# Command → the roles (`serve.Role`) that its process has, and the help text.
_ROLES = {
    "up": (("bot", "webhook", "worker"), "run bot, webhook and worker in one process"),
    "bot": (("bot",), "answer users in the chat"),
    "webhook": (("webhook",), "receive results and serve sources"),
    "worker": (("worker",), "submit jobs, deliver stems, poll late jobs"),
}
# Command → the module with its `add_arguments` and `run`, and the help text. Separator and sandbox need the
# extra of the same name.
_COMMANDS = {
    "separator": ("separator.command", "run the self-hosted separation API"),
    "sandbox": ("sandbox.command", "run everything on loopback: no account, no key, no network"),
    "doctor": ("stemdrop.operator.doctor_command", "check the settings against the real world"),
    "jobs": ("stemdrop.operator.jobs_command", "list, show, retry, resend or drop jobs"),
    "status": ("stemdrop.operator.status_command", "show processes, jobs, queues, limits and credits"),
}


def main() -> None:
    sys.exit(run(sys.argv[1:], os.environ))


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command; returns the exit code. Wrong settings are lines on standard error, and code 2."""
    parser = argparse.ArgumentParser(prog="stemdrop", description="Drop a song, get its stems.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (_, text) in _ROLES.items():
        commands.add_parser(name, help=text)
    for name, (_, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if argv and argv[0] == name:  # the other commands' modules are not imported
            _command(name).add_arguments(command)
    args = parser.parse_args(argv)
    if args.command in _COMMANDS:
        code = int(_command(args.command).run(args, environ))
    else:
        code = _serve(_ROLES[args.command][0], environ)
    if code == WRONG_SETTINGS and args.command in (*_ROLES, "separator"):
        _delay_exit(environ.get("STEMDROP_EXIT_DELAY_S", ""))
    return code


def _delay_exit(seconds: str) -> None:
    """Wait until SIGTERM, at most so long, since a container that ends at once is restarted at once."""
    if not seconds.isdecimal() or int(seconds) == 0:
        return
    advice = (
        "correct .env, check it with `docker compose run --rm worker doctor`, then `docker compose up -d`"
    )
    _print_error(f"this process ends in {seconds} s; {advice}")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait(int(seconds))


def _print_error(text: str) -> None:
    for line in text.splitlines():
        print(f"stemdrop: {line}", file=sys.stderr, flush=True)  # noqa: T201


def _serve(roles: Sequence[str], environ: Mapping[str, str]) -> int:
    secrets: tuple[str, ...] = ()
    try:
        settings = load_settings(environ, Path(".env"))
        secrets = settings.secrets
        set_up_logging(settings.log_level, settings.log_format, secrets)
        log_crashes()
        # imported only now: a wrong setting is reported without waiting for the processes' libraries
        serve = importlib.import_module("stemdrop.serve")
        asyncio.run(serve.serve(settings, {serve.Role(role) for role in roles}))
    except SettingsError as error:
        _print_error(hidden(str(error), secrets))
        return WRONG_SETTINGS
    except StemdropError as error:
        log.error("stopped: %s", error)
        return 1
    except Exception:
        log.critical("stopped by an unexpected error", exc_info=True)
        return 1
    return 0


def _command(name: str) -> Any:
    module, _ = _COMMANDS[name]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if name not in ("separator", "sandbox") or (error.name or name).partition(".")[0] == name:
            raise
        sys.exit(f"stemdrop: {error.name} is not installed; install stemdrop[{name}]")
