"""`stemdrop status`: how everything stands, over all processes; on a terminal it stays and renews itself.

Needs Redis and the settings, beside whatever runs; changes nothing.
"""

import argparse
import asyncio
import json
import logging
import shutil
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from stemdrop.errors import SettingsError, StoreUnavailable
from stemdrop.observability.logging import set_up_logging
from stemdrop.operator.system_report import Facts, status_facts, status_lines
from stemdrop.operator.terminal import nobody_reads, redis_place, say, sorry, write
from stemdrop.operator.text_table import shortened
from stemdrop.settings import Settings, load_settings
from stemdrop.storage.connection import connect
from stemdrop.storage.snapshot import Snapshots

log = logging.getLogger(__name__)

EVERY_S = 2.0
# ECMA-48: to the upper left corner; erase to the line's end, to the screen's end.
_HOME, _LINE_END, _SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--once", action="store_true", help="print it once, as where there is no terminal")
    parser.add_argument("--json", action="store_true", help="print it once, for machines; times in UTC")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run it; returns the exit code: 1 where Redis does not answer, 2 for a wrong setting."""
    try:
        settings = load_settings(environ, Path(".env"))
    except SettingsError as error:
        return sorry(error, 2)
    set_up_logging("ERROR", settings.log_format, settings.secrets, sys.stderr)
    is_live = sys.stdout.isatty() and not (args.once or args.json)
    try:
        if is_live:
            asyncio.run(_watch(settings))
            return 0
        return asyncio.run(_once(settings, is_json=args.json))
    except StoreUnavailable as error:
        return sorry(f"REDIS_URL: {redis_place(settings)}: {error}", 1)
    except BrokenPipeError:
        return nobody_reads()
    except KeyboardInterrupt:  # how one leaves what renews itself
        return 0 if is_live else 130
    except Exception as error:
        log.error("%s: %s", type(error).__name__, error)
        return 1


async def _once(settings: Settings, *, is_json: bool) -> int:
    async with connect(settings.redis_url) as redis:
        facts = await _facts(settings, Snapshots(redis))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    say([json.dumps(facts, indent=2)] if is_json else status_lines(facts, width))
    return 0


async def _watch(settings: Settings) -> None:
    """Until it is interrupted. While Redis is away, what was seen last stays."""
    seen: Facts | None = None
    async with connect(settings.redis_url) as redis:
        snapshots = Snapshots(redis)
        while True:
            told = f"stemdrop, every {EVERY_S:g} s until Ctrl-C"
            try:
                seen = await _facts(settings, snapshots)
            except StoreUnavailable as error:
                told = f"! {redis_place(settings)}: {error}" + ("; as it was before:" if seen else "")
            size = shutil.get_terminal_size()
            lines = [f"{datetime.now().astimezone():%H:%M:%S}  {told}", ""]
            lines += status_lines(seen, size.columns) if seen else []
            write(_screen(lines, size.columns, size.lines))
            await asyncio.sleep(EVERY_S)


async def _facts(settings: Settings, snapshots: Snapshots) -> Facts:
    snapshot, lately = await snapshots.look(), await snapshots.lately()
    return status_facts(snapshot, lately, expects_callbacks=bool(settings.public_url))


def _screen(lines: list[str], columns: int, rows: int) -> str:
    """The lines over what stood there before: nothing flickers, and nothing scrolls away."""
    if len(lines) >= rows:
        lines = [*lines[: max(1, rows - 2)], f"… and {len(lines) - max(1, rows - 2)} lines more"]
    shown = [f"{shortened(line, columns)}{_LINE_END}\n" for line in lines]
    return _HOME + "".join(shown) + _SCREEN_END
