"""`stemdrop sandbox`: the whole world on loopback, with one played person or until Ctrl-C; or its Telegram
alone, for a stemdrop that runs elsewhere."""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from av.error import FFmpegError
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from sandbox.environment.local_environment import LocalEnvironment
from sandbox.environment.process import ProcessFailedError
from sandbox.environment.redis_server import RedisUnavailableError
from sandbox.play.duration import measure
from sandbox.play.simulated_user import MODES, NotDeliveredError, ReceivedStem, SimulatedUser
from sandbox.telegram.app import run_telegram
from sandbox.telegram.person_actions import Telegram

T = TypeVar("T")

DEMO_SONG = Path(__file__).parent / "songs" / "demo-song.mp3"
# What opens the chat door of a Telegram that runs alone, to whoever plays people there.
KEY_VARIABLE = "SANDBOX_KEY"

# What may go wrong and is told in a sentence.
FAILURES = (NotDeliveredError, ProcessFailedError, RedisUnavailableError, httpx.HTTPError, OSError)


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
    parser.add_argument(
        "--listen",
        type=_address,
        metavar="HOST:PORT",
        help=f"only the local Telegram, for a stemdrop elsewhere (TELEGRAM_BOT_TOKEN, {KEY_VARIABLE})",
    )
    parser.add_argument("--data", type=Path, help="where that Telegram keeps its files")
    parser.add_argument(
        "--telegram",
        metavar="URL",
        help=f"play at such a Telegram that runs already ({KEY_VARIABLE}); without --song the bundled one",
    )
    parser.add_argument("--language", default="en", help="the person's Telegram language, 'zh-hans' say")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Exit code 0 when the stems came; 1 with the reason when they did not."""
    console = Console(highlight=False)
    try:
        if args.listen:
            run_until_signal(_listen(args, environ, console))
            return 0
        if args.song is None and args.telegram is None:
            run_until_signal(_stay(console, environ))
            return 0
        args.song = args.song or DEMO_SONG
        _check_song(args.song)
        arrived = run_until_signal((_play_there if args.telegram else _play)(args, environ, console))
        console.print(stem_table(arrived))
    except KeyboardInterrupt:
        return 130
    except FAILURES as error:
        print(f"stemdrop sandbox: {reason(error)}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def run_until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run `work`; Ctrl-C and SIGTERM cancel it, so that it ends what it started.

    Then raises `KeyboardInterrupt` or, with exit code 143, `SystemExit`.
    """

    async def guarded() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs is in one

        def stop() -> None:
            if not task.cancelling():  # what ends already is left to end
                task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        return await work

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)


def reason(error: Exception) -> str:
    """What is told of a failure: its own words, if it has any."""
    return str(error) or "no answer in time"


def _check_song(song: Path) -> None:
    """Raise `NotDeliveredError` before anything is started for a file that cannot be sent."""
    if not song.exists():
        raise NotDeliveredError(f"there is no file {song}")
    if song.is_dir():
        raise NotDeliveredError(f"{song} is a folder: name one song")
    if not os.access(song, os.R_OK):
        raise NotDeliveredError(f"{song} may not be read")


async def _play(args: argparse.Namespace, environ: Mapping[str, str], console: Console) -> list[ReceivedStem]:
    with tempfile.TemporaryDirectory(prefix="stemdrop-sandbox-") as folder:
        async with LocalEnvironment(Path(folder), environment=environ) as world:
            await world.start("up")
            return await play(world, console, args.song, args.mode, args.out, args.kind, args.language)


async def _play_there(
    args: argparse.Namespace, environ: Mapping[str, str], console: Console
) -> list[ReceivedStem]:
    key = environ.get(KEY_VARIABLE, "")
    if not key:
        raise NotDeliveredError(f"{KEY_VARIABLE} is not set: the key of that Telegram's chat door")
    return await _play_at(
        args.telegram, key, console, args.song, args.mode, args.out, args.kind, args.language
    )


async def play(
    world: LocalEnvironment,
    console: Console,
    song: Path,
    mode: str,
    out: Path,
    kind: str | None = None,
    language: str = "en",
) -> list[ReceivedStem]:
    """Play one person with a progress line; raises `NotDeliveredError` when nothing came."""
    key = world.telegram.access_key
    return await _play_at(world.telegram_url, key, console, song, mode, out, kind, language)


async def _play_at(
    url: str,
    key: str,
    console: Console,
    song: Path,
    mode: str,
    out: Path,
    kind: str | None,
    language: str,
) -> list[ReceivedStem]:
    with _progress(console, f"{song.name}, {mode}") as say:
        async with SimulatedUser(url.rstrip("/"), key, say, language_code=language) as player:
            arrived = await player.play(song, mode, out, kind=kind)
    if not arrived:
        raise NotDeliveredError("the bot said that it was done, but no stem arrived")
    return arrived


def stem_table(arrived: list[ReceivedStem]) -> Table:
    """What came back and where it lies. Raises `NotDeliveredError` for a stem that does not decode."""
    table = Table("stem", "seconds", "kB")
    table.add_column("file", overflow="fold")
    for stem in arrived:
        seconds = f"{length(stem):.2f}"
        table.add_row(stem.title, seconds, str(stem.path.stat().st_size // 1000), str(stem.path))
    return table


def length(stem: ReceivedStem) -> float:
    """Seconds that it sounds. Raises `NotDeliveredError` when it does not decode."""
    try:
        return measure(stem.path)
    except (FFmpegError, IndexError) as error:  # IndexError: a file without any sound in it
        raise NotDeliveredError(f"{stem.path} arrived, but does not decode") from error


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
        async with LocalEnvironment(Path(folder), environment=environ) as world:
            await world.start("up")
            console.print(f"The local Telegram's chat door: {world.telegram_url}/chat/chats")
            console.print(f"Its key, in the header X-Sandbox-Key: {world.telegram.access_key}")
            console.print("Ctrl-C ends it.")
            await asyncio.Event().wait()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError("write HOST:PORT")
    return host, int(port)


async def _listen(args: argparse.Namespace, environ: Mapping[str, str], console: Console) -> None:
    host, port = args.listen
    is_local = environ.get("TELEGRAM_LOCAL_MODE", "").lower() == "true"
    with tempfile.TemporaryDirectory(prefix="stemdrop-sandbox-") as folder:
        data, token = args.data or Path(folder), environ.get("TELEGRAM_BOT_TOKEN")
        try:
            telegram = Telegram(data, token=token, local=is_local)
        except ValueError as error:
            raise NotDeliveredError(f"TELEGRAM_BOT_TOKEN is wrong: {error}") from None
        telegram.access_key = environ.get(KEY_VARIABLE) or telegram.access_key
        async with run_telegram(telegram, port, with_chat_api=True, host=host) as url:
            console.print(f"The local Telegram is ready at {url}", soft_wrap=True)
            await asyncio.Event().wait()
