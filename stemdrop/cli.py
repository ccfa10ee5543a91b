"""The command line: `stemdrop up | bot | webhook | worker | doctor | jobs | status | separator | sandbox`."""

import argparse
import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from stemdrop.errors import SettingsError, StemdropError
from stemdrop.observability.logging import hidden, log_crashes, set_up_logging
from stemdrop.settings import load_settings

log = logging.getLogger(__name__)

# Command → the roles (`serve.Role`) that its process has, and what it is for.
_ROLES = {
    "up": (("bot", "webhook", "worker"), "bot, webhook and worker in one process"),
    "bot": (("bot",), "talks with users"),
    "webhook": (("webhook",), "receives results and serves sources"),
    "worker": (("worker",), "submits jobs, delivers stems, polls late jobs"),
}
# Rooms with commands of their own; what they need is in the extra of the same name.
_ROOMS = {
    "separator": "the self-hosted separation API",
    "sandbox": "all of it on loopback: no account, no key, no network",
}
# Commands that look after what runs: where each is, and what it is for.
_TOOLS = {
    "doctor": (
        "stemdrop.operator.doctor_command",
        "checks the settings against the real world, and says what to do",
    ),
    "jobs": (
        "stemdrop.operator.jobs_command",
        "what is open and what failed: list, show, retry, resend, drop",
    ),
    "status": (
        "stemdrop.operator.status_command",
        "how everything stands: processes, jobs, queues, limits, credits",
    ),
}


def main() -> None:
    """The entry point of the program `stemdrop`."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command; returns the exit code. A wrong setting is one line on standard error, and 2."""
    parser = argparse.ArgumentParser(prog="stemdrop", description="Drop a song, get its stems.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (_, text) in _ROLES.items():
        commands.add_parser(name, help=text)
    for name, text in _ROOMS.items():
        room = commands.add_parser(name, help=text)
        # a room's options are known only with its extra installed, and asked for only when it is meant
        if argv and argv[0] == name:
            _load(name).add_arguments(room)
    for name, (module, text) in _TOOLS.items():
        tool = commands.add_parser(name, help=text)
        if argv and argv[0] == name:
            importlib.import_module(module).add_arguments(tool)
    args = parser.parse_args(argv)
    if args.command in _TOOLS:
        return int(importlib.import_module(_TOOLS[args.command][0]).run(args, environ))
    if args.command in _ROOMS:
        return int(_load(args.command).run(args, environ))
    return _serve(_ROLES[args.command][0], environ)


def _serve(roles: Sequence[str], environ: Mapping[str, str]) -> int:
    secrets: tuple[str, ...] = ()
    try:
        settings = load_settings(environ, Path(".env"))
        secrets = settings.secrets
        set_up_logging(settings.log_level, settings.log_format, secrets)
        log_crashes()
        # only now: who named a setting wrong, or wants the separator, need not wait for all the rooms
        rooms = importlib.import_module("stemdrop.serve")
        asyncio.run(rooms.serve(settings, {rooms.Role(role) for role in roles}))
    except SettingsError as error:
        print(f"stemdrop: {hidden(str(error), secrets)}", file=sys.stderr)  # noqa: T201 - its own voice
        return 2
    except StemdropError as error:
        log.error("stopped: %s", error)
        return 1
    return 0


def _load(room: str):  # type: ignore[no-untyped-def]
    try:
        return importlib.import_module(f"{room}.command")
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == room:
            raise
        sys.exit(f"stemdrop: {error.name} is not installed; install stemdrop[{room}]")
