"""`stemdrop status`: the state of all processes, queues and limits; on a terminal it refreshes itself.

The command needs Redis and the settings, on any machine, and changes nothing.
"""

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Mapping
from datetime import datetime

from redis.asyncio import Redis
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from stemdrop.errors import StoreUnavailable
from stemdrop.operator.command_run import run_command
from stemdrop.operator.status_tables import status_lines
from stemdrop.operator.system_status import SystemStatus
from stemdrop.operator.terminal import print_lines, tolerant_stdout
from stemdrop.provider.registry import build_abilities_cache, is_free, provider_labels
from stemdrop.settings import Settings
from stemdrop.storage.connection import connect
from stemdrop.storage.snapshot import Snapshots

REFRESH_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="print it once, as without a terminal")
    parser.add_argument("--json", action="store_true", help="print it once as JSON, with times in UTC")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run the command; returns the exit code: 1 if Redis does not answer, 2 for a wrong setting."""
    can_redraw = sys.stdout.isatty() and environ.get("TERM") != "dumb"
    is_live = can_redraw and not (args.once or args.json)
    code = run_command(_watch if is_live else _print_once, args, environ)
    return 0 if is_live and code == 130 else code  # Ctrl-C is the way to leave the live view


async def _print_once(args: argparse.Namespace, settings: Settings) -> int:
    async with connect(settings.redis_url) as redis:
        status = await _status(settings, redis)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print_lines([json.dumps(status.to_json(), indent=2)] if args.json else status_lines(status, width))
    return 0


async def _watch(_: argparse.Namespace, settings: Settings) -> int:
    """Refresh the view until Ctrl-C; while Redis does not answer, the view shows the last state."""
    status: SystemStatus | None = None
    console = Console(file=tolerant_stdout(), color_system=None)
    async with connect(settings.redis_url) as redis:
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                heading = f"stemdrop, every {REFRESH_S:g} s until Ctrl-C"
                try:
                    status = await _status(settings, redis)
                except StoreUnavailable as error:
                    heading = f"! {settings.redis_address}: {error}" + ("; last state:" if status else "")
                lines = [f"{datetime.now().astimezone():%H:%M:%S}  {heading}", ""]
                lines += status_lines(status, console.width) if status else []
                live.update(_screen(lines, console.height), refresh=True)
                await asyncio.sleep(REFRESH_S)


async def _status(settings: Settings, redis: Redis) -> SystemStatus:
    snapshots, cache = Snapshots(redis), build_abilities_cache(settings, redis)
    providers = provider_labels(settings)
    return SystemStatus(
        await snapshots.take(),
        await snapshots.lately(),
        expects_callbacks=bool(settings.public_url),
        abilities=await cache.get(),
        providers=providers,
        free=frozenset([name for name in providers if await is_free(name, cache)]),
    )


def _screen(lines: list[str], rows: int) -> Group:
    if len(lines) >= rows:
        shown = max(1, rows - 2)
        lines = [*lines[:shown], f"… and {len(lines) - shown} lines more"]
    return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))
