"""`stemdrop sandbox`: runs all of stemdrop on loopback, for one simulated user or until Ctrl-C.

With `--listen` it runs only the local Telegram, for a stemdrop that runs elsewhere.
"""

import argparse
import asyncio
import os
import re
import signal
import sys
import tempfile
import webbrowser
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from rich.console import Console

from sandbox.bench.bench import bench_between
from sandbox.environment.database import Database, DatabaseError
from sandbox.environment.local_environment import LocalEnvironment
from sandbox.environment.process import ProcessFailedError
from sandbox.environment.redis_server import RedisUnavailableError
from sandbox.page.routes import PageLink
from sandbox.play.simulated_user import MODES, ONE_INSTRUMENT, NotDeliveredError, ReceivedStem, SimulatedUser
from sandbox.play.terminal_output import plain_console, print_stems, progress_lines
from sandbox.telegram.app import run_telegram
from sandbox.telegram.membership import FIRST_USER_ID
from sandbox.telegram.person_actions import Telegram
from sandbox.telegram.saved_state import close_telegram, open_telegram
from separator import engines

T = TypeVar("T")

DEMO_SONG = Path(__file__).parent / "songs" / "demo-song.mp3"
# The environment variable with the chat API's key of a local Telegram in another process.
KEY_VARIABLE = "SANDBOX_KEY"

# Errors that end the command with one sentence instead of a traceback.
FAILURES = (
    *(NotDeliveredError, ProcessFailedError, RedisUnavailableError, DatabaseError),
    *(httpx.HTTPError, OSError),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--song", type=Path, help="simulate one user who sends this file")
    parser.add_argument("--mode", choices=MODES, default=MODES[0], help="the button that the user taps")
    parser.add_argument(
        "--instrument", metavar="NAME", help=f"which one, such as Bass, with --mode {ONE_INSTRUMENT}"
    )
    parser.add_argument("--out", type=Path, default=Path("stems"), help="folder for the stems that arrive")
    parser.add_argument(
        "--kind",
        choices=["audio", "voice", "video", "video_note", "document"],
        help="how the user sends the file (default: as a Telegram client would)",
    )
    parser.add_argument(
        "--listen",
        type=_address,
        metavar="HOST:PORT",
        help="run only the local Telegram, for a stemdrop that runs elsewhere "
        f"(TELEGRAM_BOT_TOKEN, {KEY_VARIABLE})",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder that keeps chats, songs and jobs for the next start"
    )
    parser.add_argument(
        "--telegram",
        metavar="URL",
        help=f"simulate the user at a local Telegram that runs already ({KEY_VARIABLE}); "
        "without --song with the bundled song",
    )
    parser.add_argument(
        "--access",
        choices=["open", "invite"],
        default="open",
        help="who may use the bot in the page: everyone, or its first person, who is admin, and guests",
    )
    parser.add_argument("--language", default="en", help="the user's Telegram language, such as zh-hans")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run the command; returns 0, 1 after one line that says what failed, or 130 after Ctrl-C."""
    console = plain_console()
    try:
        if args.listen:
            run_until_signal(_run_telegram_only(args, environ, console))
        elif args.song is None and args.telegram is None:
            run_until_signal(_run_until_cancelled(args.access, args.data, console, environ))
        else:
            if args.data is not None:
                raise NotDeliveredError("--data goes with the page or with --listen, not with one song")
            args.song = args.song or DEMO_SONG
            _check_song(args.song)
            if (args.mode == ONE_INSTRUMENT) != bool(args.instrument):
                raise NotDeliveredError(f"--mode {ONE_INSTRUMENT} and --instrument NAME go together")
            print_stems(console, run_until_signal(_play(args, environ, console)))
    except KeyboardInterrupt:
        return 130
    except FAILURES as error:
        print(f"stemdrop sandbox: {str(error) or 'timeout'}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def run_until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run `work`; Ctrl-C and SIGTERM cancel it, so that it stops what it started.

    Raises `KeyboardInterrupt` or, with exit code 143, `SystemExit` after that.
    """

    received: list[signal.Signals] = []

    async def cancellable() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a running coroutine has a task

        def cancel(number: signal.Signals) -> None:
            received.append(number)
            if not task.cancelling():  # a second signal must not interrupt the clean-up
                task.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, cancel, number)
        return await work

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        if signal.SIGINT in received[:1]:
            raise KeyboardInterrupt from None
        sys.exit(128 + signal.SIGTERM)


def _check_song(song: Path) -> None:
    """Raise `NotDeliveredError` for a file that cannot be sent, before anything is started."""
    if not song.exists():
        raise NotDeliveredError(f"there is no file {song}")
    if song.is_dir():
        raise NotDeliveredError(f"{song} is a folder: name one song")
    if not os.access(song, os.R_OK):
        raise NotDeliveredError(f"{song} cannot be read")


async def _play(args: argparse.Namespace, environ: Mapping[str, str], console: Console) -> list[ReceivedStem]:
    user = (console, args.song, args.mode, args.out, args.instrument or "", args.kind, args.language)
    if args.telegram:
        key = environ.get(KEY_VARIABLE, "")
        if not key:
            raise NotDeliveredError(f"{KEY_VARIABLE} is not set: the key of that Telegram's chat API")
        return await play(args.telegram, key, *user)
    with tempfile.TemporaryDirectory(prefix="stemdrop-sandbox-") as folder:
        async with LocalEnvironment(Path(folder), environment=environ) as environment:
            await environment.start("up")
            return await play(environment.telegram_url, environment.telegram.access_key, *user)


async def play(
    url: str,
    access_key: str,
    console: Console,
    song: Path,
    mode: str,
    out: Path,
    instrument: str = "",
    kind: str | None = None,
    language: str = "en",
) -> list[ReceivedStem]:
    """Simulate one user and print the progress. Raises `NotDeliveredError` when no stem arrives."""
    with progress_lines(console, ", ".join(filter(None, (song.name, mode, instrument)))) as show:
        async with SimulatedUser(url, access_key, show, language_code=language) as user:
            return await user.play(song, mode, out, instrument=instrument, kind=kind)


async def _run_until_cancelled(
    access: str, data: Path | None, console: Console, environ: Mapping[str, str]
) -> None:
    settings = {"ACCESS": access, "ADMINS": str(FIRST_USER_ID)}
    with _folder(data) as folder:
        async with LocalEnvironment(
            folder, settings=settings, environment=environ, bench=True, keeps_data=data is not None
        ) as environment:
            await environment.start("up")
            left = "nothing is left behind" if data is None else f"{data} keeps everything for the next start"
            _announce(console, environment, environ, left)
            await asyncio.Event().wait()


@contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    """Yield `data`, or a temporary folder if it is None."""
    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="stemdrop-sandbox-") as folder:
        yield Path(folder)


def _announce(console: Console, environment: LocalEnvironment, environ: Mapping[str, str], left: str) -> None:
    """Print the page's address, and open it where there is a screen."""
    engine = engines.choose(engines.named_in(environ))
    console.print(f"The separator's engine: {engine}.")
    console.print(f"Open {environment.page.url(environment.telegram_url)}", soft_wrap=True)
    console.print(f"Press Ctrl-C to stop; {left}.", soft_wrap=True)
    if sys.platform == "darwin" or environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(environment.page.single_use_url(environment.telegram_url))


async def _run_telegram_only(args: argparse.Namespace, environ: Mapping[str, str], console: Console) -> None:
    host, port = args.listen
    with _folder(args.data) as folder, _telegram(folder, args.data is not None, environ) as telegram:
        telegram.access_key = environ.get(KEY_VARIABLE) or telegram.access_key
        link = PageLink(telegram.access_key, _origin(environ.get("PUBLIC_URL", "")))
        async with (
            bench_between(telegram, environ) as bench,
            run_telegram(telegram, port, with_chat_api=True, link=link, bench=bench, host=host) as url,
        ):
            console.print(f"The local Telegram is ready at {url}", soft_wrap=True)
            # the port as the browser sees it, which differs if a container publishes it as another one
            outside = f"http://127.0.0.1:{environ.get('SANDBOX_PORT') or url.rpartition(':')[2]}"
            console.print(f"Open {link.url(outside)}", soft_wrap=True)
            await asyncio.Event().wait()


@contextmanager
def _telegram(folder: Path, keeps_data: bool, environ: Mapping[str, str]) -> Iterator[Telegram]:
    """Yield a local Telegram with its files in `folder`; with `keeps_data` it goes on where it ended."""
    token = environ.get("TELEGRAM_BOT_TOKEN")
    is_local = environ.get("TELEGRAM_LOCAL_MODE", "").lower() == "true"
    with ExitStack() as stack:
        try:
            if not keeps_data:
                telegram = Telegram(folder / "telegram", token=token, local=is_local)
            else:
                database = stack.enter_context(closing(Database(folder)))
                telegram = open_telegram(database, folder / "telegram", token=token, local=is_local)
                stack.callback(close_telegram, telegram, database)
        except ValueError as error:
            raise NotDeliveredError(f"TELEGRAM_BOT_TOKEN is wrong: {error}") from None
        yield telegram


def _origin(url: str) -> str:
    """Return scheme, host and port of `url`, or an empty text where a header could not contain them."""
    found = re.match(r"https?://[\w.:\[\]-]+", url, re.ASCII)
    return found[0] if found else ""


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError("write HOST:PORT")
    return host, int(port)
