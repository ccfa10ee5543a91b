"""Logging for operators: one line per event, for eyes or for machines, and no secret in any of them."""

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import TextIO
from urllib.parse import quote

from pythonjsonlogger.json import JsonFormatter

from stemdrop.log_context import add_job_fields

# These log whole URLs (the bot's token is in them), users' words, or a traceback per retry.
_QUIET = ("httpx", "httpcore", "telegram", "docket.worker", "docket.dependencies", "asyncio")
_SILENT = ("docket.dependencies",)

# Whoever has such a link may fetch a song, or answer in the provider's place; a provider may repeat it, also
# in a query, or in JSON within JSON.
_LINK = re.compile(r"((?:\\*/|%(?:25)*2F)(?:source|callback)(?:\\*/|%(?:25)*2F))[\w.-]{40,}", re.ASCII | re.I)

log = logging.getLogger(__name__)


def set_up_logging(level: str, form: str, secrets: Iterable[str], stream: TextIO = sys.stderr) -> None:
    """Configure the root logger. `form` is `console` or `json`; `secrets` are replaced wherever they are."""
    handler = _Handler(stream)
    handler.setFormatter(_Hiding(_json() if form == "json" else _console(), secrets))
    handler.addFilter(_without_foreign_tracebacks)
    handler.addFilter(add_job_fields)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def log_crashes() -> None:
    """Send to the log what Python itself prints to standard error, past the formatter that hides secrets:
    warnings, and the tracebacks of what nobody caught."""
    logging.captureWarnings(True)
    sys.excepthook = _crashed
    threading.excepthook = lambda args: _crashed(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _crashed(args.exc_type, args.exc_value, args.exc_traceback)


def hidden(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, in whatever spelling they are in it, and without tokens of our links."""
    return _hide(text, _pattern(secrets))


def _pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    forms = {form for secret in secrets if secret for form in _spellings(secret)}
    # the longest first: one may be the beginning of another
    longest_first = sorted(forms, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if forms else None


def _hide(text: str, pattern: re.Pattern[str] | None) -> str:
    return _LINK.sub(r"\1***", pattern.sub("***", text) if pattern else text)


def _crashed(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
        log.critical("crashed: %s", kind.__name__, exc_info=(kind, error, traceback))


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines; one that cannot be written is named, where the library would print its arguments."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Say which line is missing, if anything can still be said."""
        error = sys.exc_info()[0]
        with suppress(Exception):
            self.stream.write(
                f"a line of {record.pathname}:{record.lineno} is not written: {error and error.__name__}\n"
            )


def _console() -> logging.Formatter:
    return logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")


def _json() -> logging.Formatter:
    return JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        json_ensure_ascii=False,
    )


class _Hiding(logging.Formatter):
    """The last line of defence: no code of ours writes a secret, but a library's exception text may."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self._inner = inner
        self._pattern = _pattern(secrets)

    def format(self, record: logging.LogRecord) -> str:
        return _hide(self._inner.format(record), self._pattern)


def _spellings(secret: str) -> set[str]:
    """As it is, in a URL, in a `repr` of text or bytes, and each of these in JSON."""
    plain = {secret, quote(secret, safe=""), quote(secret), repr(secret)[1:-1], repr(secret.encode())[2:-1]}
    return plain | {
        json.dumps(form, ensure_ascii=is_ascii)[1:-1] for form in plain for is_ascii in (True, False)
    }


def _without_foreign_tracebacks(record: logging.LogRecord) -> bool:
    if record.name.startswith(("docket", "telegram")) and record.levelno < logging.CRITICAL:
        record.exc_info = None
    return True
