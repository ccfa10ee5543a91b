"""`stemdrop separator`: options and environment to settings, and the server until SIGTERM."""

import argparse
import logging
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import uvicorn

from separator.app import create_app
from separator.audio.formats import FileFormat
from separator.data_folder import FolderInUseError, hold
from separator.modes import CONTRACT_PRICES
from separator.settings import DAY_S, SeparatorSettings

_log = logging.getLogger(__name__)

_OPEN_REQUESTS_LIMIT_S = 3  # how long downloads under way may hold up the end


class _UsageError(Exception):
    """A setting is missing or wrong; the text names it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options; what is not given is taken from the environment when the command runs."""
    parser.add_argument("--host", help="address to listen on (LISTEN_HOST, 0.0.0.0)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (LISTEN_PORT, 8000)")
    parser.add_argument(
        "--data", type=Path, default=Path("data/separator"), help="folder for tasks and files"
    )
    parser.add_argument("--origin", help="where clients reach this server; result links begin with it")
    parser.add_argument("--keep-days", type=float, default=14, help="how long results can be fetched")
    parser.add_argument("--format", type=FileFormat, choices=list(FileFormat), default=FileFormat.MP3)
    parser.add_argument("--engine-runs", type=int, help="songs separated at once (one per core)")
    parser.add_argument("--max-source-mb", type=float, default=2000, help="largest source that is fetched")
    parser.add_argument("--max-minutes", type=float, default=60, help="longest song")
    parser.add_argument(
        "--callback-object",
        choices=["vocal_removal_info", "vocal_separation_info"],
        default="vocal_removal_info",
        help="what the callback calls the object with the links",
    )
    parser.add_argument("--credits", type=int, default=1_000_000, help="credits to start with")
    parser.add_argument("--charge", action="store_true", help="charge the contract's prices (otherwise free)")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. A missing or wrong setting is one line and 2."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it logs every source's address
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = _settings(args, environ)
        with listen(*_address(args, environ)) as listener:
            host, port = listener.getsockname()[:2]
            if not settings.origin:
                settings = replace(settings, origin=_origin(host, port))
            with hold(settings.data):
                _serve(settings, listener)
    except (_UsageError, FolderInUseError) as error:
        sys.stderr.write(f"stemdrop separator: {error}\n")
        return 2
    return 0


def _address(args: argparse.Namespace, environ: Mapping[str, str]) -> tuple[str, int]:
    host = args.host or environ.get("LISTEN_HOST") or "0.0.0.0"  # noqa: S104 - the documented default
    if args.port is not None:
        return host, args.port
    text = environ.get("LISTEN_PORT") or "8000"
    if not text.isdecimal():
        raise _UsageError(f"LISTEN_PORT must be a number, not {text!r}")
    return host, int(text)


def listen(host: str, port: int) -> socket.socket:
    """The separator's socket; connections that it accepts inherit its options."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        raise _UsageError(f"cannot listen on {host}:{port} (LISTEN_HOST, LISTEN_PORT): {error}") from error
    # asyncio switches Nagle's algorithm off (40 ms an answer) only on sockets that name their protocol
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _origin(host: str, port: int) -> str:
    """Good on this machine; anybody further away needs `--origin`."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _settings(args: argparse.Namespace, environ: Mapping[str, str]) -> SeparatorSettings:
    api_key = environ.get("SEPARATION_API_KEY", "")
    if not api_key:
        raise _UsageError("SEPARATION_API_KEY is not set: choose a key that clients have to send")
    if args.engine_runs is not None and args.engine_runs < 1:
        raise _UsageError("--engine-runs must be at least 1")
    settings = SeparatorSettings(
        api_key=api_key,
        data=args.data,
        origin=(args.origin or "").rstrip("/"),
        file_format=args.format,
        keep_results_s=args.keep_days * DAY_S,
        max_source_bytes=int(args.max_source_mb * 1e6),
        max_duration_s=args.max_minutes * 60,
        callback_object=args.callback_object,
        callback_hmac_key=environ.get("CALLBACK_HMAC_KEY", ""),
        credits=args.credits,
        prices=dict(CONTRACT_PRICES) if args.charge else {},
    )
    return settings if args.engine_runs is None else replace(settings, engine_runs=args.engine_runs)


def _serve(settings: SeparatorSettings, listener: socket.socket) -> None:
    # uvicorn raises the signal that ended it once more for the handler that was there before: with the
    # default one a clean end would look like a kill.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,  # the addresses of results are all it takes to fetch them
        lifespan="on",
        timeout_graceful_shutdown=_OPEN_REQUESTS_LIMIT_S,
    )
    _Server(config, settings.origin).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, origin: str) -> None:
        super().__init__(config)
        self._origin = origin

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            _log.info("separator ready at %s", self._origin)
