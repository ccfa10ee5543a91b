"""The command line: `stemdrop up | bot | webhook | worker | doctor | jobs | status | separator | sandbox`.

This module imports nothing slow, so that help appears at once. Each command imports what it needs when it
runs; bot, webhook and worker load their modules only after the settings.
"""

import argparse
import gc
import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from stemdrop import interrupts
from stemdrop.errors import SettingsError, StemdropError
from stemdrop.operator.terminal import print_error

log = logging.getLogger(__name__)

WRONG_SETTINGS = 2  # the exit code
# Options of glibc's malloc (mallopt(3)): the operator's environment variable, the option's number, our value.
_MALLOC_OPTIONS = (
    ("MALLOC_ARENA_MAX", -8, 1),
    ("MALLOC_MMAP_THRESHOLD_", -3, 4 * 1024 * 1024),
    ("MALLOC_TRIM_THRESHOLD_", -1, 16 * 1024 * 1024),
)

# The modules of py-key-value that pydocket imports, and the class that it imports from each.
_RESULT_STORE = {
    "key_value.aio.stores.redis": "RedisStore",
    "key_value.aio.protocols.key_value": "AsyncKeyValue",
}

# Command → the roles (`serve.Role`) of its process, the short help text, and further help.
_ROLES = {
    "up": (
        ("bot", "webhook", "worker"),
        "run bot, webhook and worker in one process",
        "All that a small host needs beside Redis.",
    ),
    "bot": (("bot",), "answer users in the chat", "Run one; needs a worker beside it."),
    "webhook": (
        ("webhook",),
        "receive results and serve sources",
        "Run any number, behind PUBLIC_URL.",
    ),
    "worker": (("worker",), "submit jobs, deliver stems, poll late jobs", "Run any number."),
}
# Command → the module with its `add_arguments` and `run`, and the two help texts. Separator and sandbox need
# the extra of the same name.
_COMMANDS = {
    "separator": (
        "separator.command",
        "run the self-hosted separation API",
        "Without a provider and credits; SEPARATION_API_URL of the other processes points to it.",
    ),
    "fetch-model": (
        "separator.fetch_model",
        "download a trained model for the separator",
        "Once; a machine without network takes the file by --from.",
    ),
    "sandbox": (
        "sandbox.command",
        "run everything on loopback: no account, no key, no network",
        "Starts a local Telegram, Redis, a separator and stemdrop. With --song it plays one user and ends.",
    ),
    "doctor": (
        "stemdrop.operator.doctor_command",
        "check the settings against the real world",
        "One line per check, with what to do about it. Exit code 1 if something is wrong.",
    ),
    "jobs": (
        "stemdrop.operator.jobs_command",
        "list, show, retry, resend or drop jobs",
        "Without an action it lists open and failed jobs. Needs Redis and the settings, on any machine.",
    ),
    "status": (
        "stemdrop.operator.status_command",
        "show processes, jobs, queues, limits and credits",
        "Updated every two seconds on a terminal. Needs Redis and the settings, on any machine.",
    ),
}
_SETTINGS_HINT = "Settings come from the environment or .env; .env.example explains each."


def main() -> int:
    return run(sys.argv[1:], os.environ)


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command and return its exit code. Wrong settings are listed on standard error, with code 2."""
    began = time.monotonic()
    args = _parse(argv)
    if args.command == "separator" and (problem := _set_up_separator_logging(environ)):
        code = print_error(problem, WRONG_SETTINGS)
    elif args.command in _COMMANDS:
        interrupts.heed()
        code = int(_command(args.command).run(args, environ))
    else:
        code = _serve(_ROLES[args.command][0], environ)
    if code == WRONG_SETTINGS and args.command in (*_ROLES, "separator"):
        _delay_exit(environ.get("STEMDROP_SHORTEST_RUN_S", ""), began)
    return code


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; `help jobs` means `jobs --help`. Exits after help and for wrong arguments."""
    if argv and argv[0] == "help":
        argv = [*argv[1:], "--help"]
    parser = argparse.ArgumentParser(
        prog="stemdrop", description="Drop a song, get its stems.", epilog=_SETTINGS_HINT
    )
    parser.add_argument("--version", action="version", version=_version() if _asks_version(argv) else "")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("help", help="show this, or what one command does: stemdrop help jobs")
    known = {**_ROLES, **_COMMANDS}
    # Each parser takes a third of a millisecond: a known command needs only its own.
    for name in argv[:1] if argv and argv[0] in known else known:
        _, text, more = known[name]
        description = f"{text[0].upper()}{text[1:]}. {more}"
        command = commands.add_parser(name, help=text, description=description, epilog=_SETTINGS_HINT)
        if name in _COMMANDS and argv and argv[0] == name:  # the other commands' modules are not imported
            _command(name).add_arguments(command)
    return parser.parse_args(argv)


def _asks_version(argv: Sequence[str]) -> bool:
    return any(word.startswith("--v") for word in argv)  # argparse accepts prefixes of options


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - finding it takes longer than printing all help

    return f"stemdrop {version('stemdrop')}"


def _set_up_separator_logging(environ: Mapping[str, str]) -> str:
    """Set up logging as in the other processes; return what is wrong with its settings, empty if nothing."""
    from stemdrop.observability.logging import set_up_logging  # noqa: PLC0415

    level, form = (
        (environ.get("LOG_LEVEL") or "INFO").upper(),
        (environ.get("LOG_FORMAT") or "console").lower(),
    )
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        return "LOG_LEVEL is wrong: it is DEBUG, INFO, WARNING or ERROR"
    if form not in ("console", "json"):
        return "LOG_FORMAT is wrong: it is console or json"
    secrets = [environ.get(name, "") for name in ("SEPARATION_API_KEY", "CALLBACK_HMAC_KEY")]
    set_up_logging(level, form, secrets)
    return ""


def _delay_exit(shortest_run_s: str, began: float) -> None:
    """Wait until the process has run for `shortest_run_s` seconds, or for SIGTERM or Ctrl-C.

    A container whose process ends is restarted at once, and would only repeat the same error.
    """
    left_s = (float(shortest_run_s) if shortest_run_s.isdecimal() else 0) - (time.monotonic() - began)
    if left_s <= 0:
        return
    advice = (
        "correct .env, check it with `docker compose run --rm worker doctor`, then `docker compose up -d`"
    )
    print_error(f"this process ends in {left_s:.0f} s; {advice}", WRONG_SETTINGS)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait(left_s)


def _serve(roles: Sequence[str], environ: Mapping[str, str]) -> int:
    import asyncio  # noqa: PLC0415

    from stemdrop.observability.logging import hidden, log_crashes, set_up_logging  # noqa: PLC0415
    from stemdrop.settings import load_settings  # noqa: PLC0415

    secrets: tuple[str, ...] = ()
    try:
        settings = load_settings(environ, Path(".env"))
        secrets = settings.secrets
        set_up_logging(settings.log_level, settings.log_format, secrets)
        log_crashes()
        serve = _import_processes(roles)
        interrupts.heed()
        asyncio.run(serve.serve(settings, {serve.Role(role) for role in roles}))
    except SettingsError as error:
        return print_error(hidden(str(error), secrets), WRONG_SETTINGS)
    except StemdropError as error:
        log.error("stopped: %s", error)
        return 1
    except Exception:
        log.critical("stopped by an unexpected error", exc_info=True)
        return 1
    return 0


def _import_processes(roles: Sequence[str]) -> Any:
    """Import the modules of these roles only, and return `stemdrop.serve`.

    The garbage collector is off during the imports, and ignores the imported objects afterwards: otherwise
    each full collection takes 70 ms, in which nothing else runs.
    """
    gc.disable()
    _set_malloc_options()
    skip_unused_imports()
    for role in roles:
        importlib.import_module(f"{role}.run")
    serve = importlib.import_module("stemdrop.serve")
    gc.freeze()
    gc.enable()
    return serve


def _set_malloc_options() -> None:
    """Make glibc reuse the memory that deliveries free; call it before any thread starts.

    All threads share one arena. With an arena each, which keeps the memory that is freed in it, a delivering
    worker held 169 MB instead of 147. Freed blocks of files and audio are not returned to the system at once,
    which would clear each page again before its next use: that took a tenth of a delivery.
    """
    # a Python that was built without libffi, or is linked statically
    with suppress(ImportError, OSError):
        import ctypes  # noqa: PLC0415

        if hasattr(libc := ctypes.CDLL(None), "mallopt"):
            for variable, option, value in _MALLOC_OPTIONS:
                if variable not in os.environ:
                    libc.mallopt(option, value)


def skip_unused_imports() -> None:
    """Keep httpx and pydocket from importing modules that are not used here; call it before their import.

    These modules would take 11 MB and a third of the start time. httpx imports its command line, with click,
    pygments and rich if they are installed; `None` makes that import fail, which httpx tolerates. pydocket
    imports a store for the return values of tasks, with a library that checks types; our tasks return
    nothing.
    """
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
    for module, name in _RESULT_STORE.items():
        sys.modules[module] = ModuleType(module)
        setattr(sys.modules[module], name, object)  # it takes no arguments, so that using it fails


def _command(name: str) -> Any:
    module, *_ = _COMMANDS[name]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if name not in ("separator", "sandbox") or (error.name or name).partition(".")[0] == name:
            raise
        sys.exit(f"stemdrop: {error.name} is not installed; install stemdrop[{name}]")
