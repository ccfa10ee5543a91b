"""`stemdrop sandbox`: the whole world on loopback, with one played person or until Ctrl-C."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from sandbox.listening import measure
from sandbox.player import MODES, Arrived, NotDeliveredError, Player
from sandbox.process import ProcessFailedError
from sandbox.redis_server import RedisUnavailableError
from sandbox.world import World


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--song", type=Path, help="play one person who sends this file")
    parser.add_argument("--mode", choices=MODES, default=MODES[0], help="which button they tap")
    parser.add_argument(
        "--out", type=Path, default=Path("stems"), help="where the stems that arrive are kept"
    )
    parser.add_argument(
        "--kind", choices=["audio", "voice", "video", "video_note", "document"], help="send the file as this"
    )
    parser.add_argument("--language", default="en", help="the person's Telegram language, 'zh-hans' say")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Exit code 0 when the stems came; 1 with the reason when they did not."""
    console = Console(highlight=False)
    try:
        if args.song is None:
            asyncio.run(_stay(console, environ))
            return 0
        with tempfile.TemporaryDirectory(prefix="stemdrop-sandbox-") as folder:
            arrived = asyncio.run(_play(args, environ, console, Path(folder)))
    except KeyboardInterrupt:
        return 130
    except (NotDeliveredError, ProcessFailedError, RedisUnavailableError, OSError) as error:
        print(f"stemdrop sandbox: {error or 'no answer in time'}", file=sys.stderr)  # noqa: T201
        return 1
    console.print(stem_table(arrived))
    return 0


async def _play(
    args: argparse.Namespace, environ: Mapping[str, str], console: Console, folder: Path
) -> list[Arrived]:
    async with World(folder, environment=environ) as world:
        await world.start("up")
        return await play(world, console, args.song, args.mode, args.out, args.kind, args.language)


async def play(
    world: World,
    console: Console,
    song: Path,
    mode: str,
    out: Path,
    kind: str | None = None,
    language: str = "en",
) -> list[Arrived]:
    """Play one person with a progress line; raises `NotDeliveredError` when nothing came."""
    with _progress(console, f"{song.name}, {mode}") as say:
        async with Player(
            world.telegram_url, world.telegram.access_key, say, language_code=language
        ) as player:
            arrived = await player.play(song, mode, out, kind=kind)
    if not arrived:
        raise NotDeliveredError("the bot said that it was done, but no stem arrived")
    return arrived


def stem_table(arrived: list[Arrived]) -> Table:
    """What came back and where it lies."""
    table = Table("stem", "seconds", "kB")
    table.add_column("file", overflow="fold")
    for stem in arrived:
        seconds = f"{measure(stem.path):.2f}"
        table.add_row(stem.title, seconds, str(stem.path.stat().st_size // 1000), str(stem.path))
    return table


@contextmanager
def _progress(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """A line that lives in a terminal, and one line per news elsewhere."""
    if not console.is_terminal:
        started = time.monotonic()

        def tell(text: str) -> None:
            console.print(f"{time.monotonic() - started:6.1f} s  {' '.join(text.split())}", soft_wrap=True)

        console.print(what)
        yield tell
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what)

        def show(text: str) -> None:
            progress.update(task, description=f"{what}: {' '.join(text.split())[:70]}")

        yield show
        progress.update(task, total=1, completed=1)


async def _stay(console: Console, environ: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="stemdrop-sandbox-") as folder:
        async with World(Path(folder), environment=environ) as world:
            await world.start("up")
            console.print(f"The local Telegram's chat door: {world.telegram_url}/chat/chats")
            console.print(f"Its key, in the header X-Sandbox-Key: {world.telegram.access_key}")
            console.print("Ctrl-C ends it.")
            await asyncio.Event().wait()
