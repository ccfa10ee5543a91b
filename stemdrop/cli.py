"""The command line: `stemdrop up | bot | webhook | worker | separator | sandbox`."""

import argparse
import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from stemdrop.errors import SettingsError, StemdropError
from stemdrop.logs import set_up_logging
from stemdrop.serve import Role, serve
from stemdrop.settings import load_settings

log = logging.getLogger(__name__)

_ROLES = {
    "up": ({Role.BOT, Role.WEBHOOK, Role.WORKER}, "bot, webhook and worker in one process"),
    "bot": ({Role.BOT}, "talks with users"),
    "webhook": ({Role.WEBHOOK}, "receives results and serves sources"),
    "worker": ({Role.WORKER}, "submits jobs, delivers stems, polls late jobs"),
}
# Rooms with commands of their own; what they need is in the extra of the same name.
_ROOMS = {
    "separator": "the self-hosted separation API",
    "sandbox": "all of it on loopback: no account, no key, no network",
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
    args = parser.parse_args(argv)
    if args.command in _ROOMS:
        return int(_load(args.command).run(args, environ))
    return _serve(_ROLES[args.command][0], environ)


def _serve(roles: set[Role], environ: Mapping[str, str]) -> int:
    try:
        settings = load_settings(environ, Path(".env"))
        set_up_logging(settings.log_level, settings.log_format, settings.secrets)
        asyncio.run(serve(settings, roles))
    except SettingsError as error:
        print(f"stemdrop: {error}", file=sys.stderr)  # noqa: T201 - the command line's own voice
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
