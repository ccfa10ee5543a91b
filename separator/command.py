"""`stemdrop separator`: reads the settings and serves until SIGTERM."""

import argparse
import fcntl
import logging
import math
import signal
import socket
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import uvicorn

from separator import engines
from separator.app import create_app
from separator.audio.formats import FileFormat
from separator.errors import ModelError
from separator.modes import CONTRACT_PRICES
from separator.settings import DAY_S, SeparatorSettings, fit_to_engine
from separator.task_table import TASKS_FILE, TaskTable
from stemdrop.http.proxies import Proxies

_log = logging.getLogger(__name__)

_SHUTDOWN_TIMEOUT_S = 3  # for open downloads


class _UsageError(Exception):
    """A setting is missing or wrong; the message names it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options; the environment supplies missing ones when the command runs."""
    parser.add_argument("--host", help="address to listen on (LISTEN_HOST, 0.0.0.0)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (LISTEN_PORT, 8000)")
    parser.add_argument(
        "--data", type=Path, default=Path("data/separator"), help="folder for tasks and files"
    )
    parser.add_argument("--origin", help="this server's address for clients; result links begin with it")
    parser.add_argument("--keep-days", type=float, default=14, help="days for which results can be fetched")
    parser.add_argument(
        "--format",
        type=FileFormat,
        choices=list(FileFormat),
        default=FileFormat.MP3,
        help="format of stems whose request names none (mp3)",
    )
    parser.add_argument(
        "--engine",
        choices=engines.NAMES,
        help="how songs are separated (ENGINE, auto: Spleeter where its model is)",
    )
    parser.add_argument("--engine-runs", type=int, help="songs separated at once (one per core)")
    parser.add_argument("--max-source-mb", type=float, default=2000, help="largest source that is fetched")
    parser.add_argument("--max-minutes", type=float, default=60, help="longest song")
    parser.add_argument(
        "--callback-object",
        choices=["vocal_removal_info", "vocal_separation_info"],
        default="vocal_removal_info",
        help="name of the object with the links in callbacks",
    )
    parser.add_argument("--credits", type=int, default=1_000_000, help="credits to start with")
    parser.add_argument("--charge", action="store_true", help="charge the contract's prices (otherwise free)")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code, 2 after one line for a wrong setting."""
    try:
        settings = _settings(args, environ)
        with listen(*_address(args, environ)) as listener:
            host, port = listener.getsockname()[:2]
            if not settings.origin:
                settings = replace(settings, origin=_origin(host, port))
            with _lock_folder(settings.data):
                _check_tasks(settings.data)
                _serve(settings, listener)
    except _UsageError as error:
        sys.stderr.write(f"stemdrop separator: {error}\n")
        return 2
    return 0


def _address(args: argparse.Namespace, environ: Mapping[str, str]) -> tuple[str, int]:
    host = args.host or environ.get("LISTEN_HOST") or "0.0.0.0"  # noqa: S104 - the documented default
    port = str(args.port if args.port is not None else environ.get("LISTEN_PORT") or "8000")
    if not port.isdecimal() or int(port) > 65535:
        raise _UsageError(f"the port must be a number up to 65535, not {port} (--port, LISTEN_PORT)")
    return host, int(port)


def listen(host: str, port: int) -> socket.socket:
    """Open the separator's listening socket; accepted connections inherit its options."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise _UsageError(f"cannot listen on {host}:{port} (LISTEN_HOST, LISTEN_PORT): {error}") from error
    # asyncio disables Nagle's algorithm (40 ms per answer) only on sockets with an explicit protocol
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _origin(host: str, port: int) -> str:
    """Return the address for clients on this machine; other clients need `--origin`."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _settings(args: argparse.Namespace, environ: Mapping[str, str]) -> SeparatorSettings:
    api_key = environ.get("SEPARATION_API_KEY", "")
    if not api_key:
        raise _UsageError("SEPARATION_API_KEY is not set: choose a key that clients have to send")
    if args.engine_runs is not None and args.engine_runs < 1:
        raise _UsageError("--engine-runs must be at least 1")
    for option in ("keep_days", "max_source_mb", "max_minutes"):
        if not 0 < getattr(args, option) < math.inf:
            raise _UsageError(f"--{option.replace('_', '-')} must be a number above 0")
    try:
        proxies = Proxies.from_environment(environ)
    except ValueError as error:
        raise _UsageError(str(error)) from None
    wanted = args.engine or engines.named_in(environ)
    engine = _engine(wanted)
    settings = SeparatorSettings(
        api_key=api_key,
        data=args.data,
        engine=engine,
        better_engine="spleeter" if wanted == engines.AUTO and engine == "light" else "",
        origin=(args.origin or "").rstrip("/"),
        file_format=args.format,
        keep_results_s=args.keep_days * DAY_S,
        max_source_bytes=int(args.max_source_mb * 1e6),
        max_duration_s=args.max_minutes * 60,
        callback_object=args.callback_object,
        proxies=proxies,
        callback_hmac_key=environ.get("CALLBACK_HMAC_KEY", ""),
        credits=args.credits,
        prices=dict(CONTRACT_PRICES) if args.charge else {},
    )
    if args.engine_runs is not None:
        settings = replace(settings, engine_runs=args.engine_runs)
    return fit_to_engine(settings)


def _engine(name: str) -> str:
    if name not in engines.NAMES:
        raise _UsageError(f"ENGINE must be one of {', '.join(engines.NAMES)}, not {name}")
    try:
        engine = engines.choose(name)
    except ModelError as error:
        raise _UsageError(f"ENGINE={name}: {error}") from None
    if name == engines.AUTO and engine == "light":
        _log.warning("there is no trained model; for better stems run: stemdrop fetch-model spleeter")
    if engine == "htdemucs":
        _log.info("one song at a time, with 3 GB of memory; two cores need about as long as the song plays")
    _log.info("engine: %s", engine)
    return engine


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Create the data folder and lock it for the block: two separators would run each other's tasks."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise _UsageError(f"--data {folder} cannot be used: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _UsageError(f"--data {folder} is in use by another separator") from error
        yield


def _check_tasks(folder: Path) -> None:
    try:
        TaskTable(folder / TASKS_FILE).close()
    except sqlite3.Error as error:
        raise _UsageError(f"{folder / TASKS_FILE} cannot be used: {error}; move it away") from error


def configure_server(settings: SeparatorSettings) -> uvicorn.Config:
    """Return uvicorn's configuration of a separator with these settings."""
    return uvicorn.Config(
        create_app(settings),
        # uvicorn would take uvloop where it is installed, whose connections know no happy eyeballs.
        loop="asyncio",
        http="h11",  # the faster parser takes headers of any length
        log_config=None,
        access_log=False,  # the URL of a result is all that is needed to fetch it
        lifespan="on",
        timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT_S,
    )


def _serve(settings: SeparatorSettings, listener: socket.socket) -> None:
    server = _Server(configure_server(settings), settings.origin)

    def stop(*_: object) -> None:
        server.should_exit = True  # for a signal that comes before uvicorn has its own handlers

    # uvicorn raises the signal again for the previous handler; the default one would end the process with
    # the signal instead of 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, origin: str) -> None:
        super().__init__(config)
        self._origin = origin

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            _log.info("separator ready at %s", self._origin)
