"""Logging for operators: one line per event, as plain text or JSON, without secrets."""

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from copy import copy
from types import TracebackType
from typing import TextIO
from urllib.parse import quote

from pythonjsonlogger.json import JsonFormatter

from stemdrop.log_context import add_job_fields
from stemdrop.observability.printable_text import printable, printable_lines

# Below these levels the libraries log whole URLs (with the bot's token), users' messages, or every retry.
_LEVELS = {
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "telegram": logging.WARNING,
    "docket.worker": logging.WARNING,
    "docket.dependencies": logging.CRITICAL,
    "docket.strikelist": logging.ERROR,
    "asyncio": logging.WARNING,
}

# Anyone who has such a link can fetch a song, or send a result in the provider's place. A provider may repeat
# the link in a query string or inside JSON, so the slashes may be escaped.
_SLASH = r"(?:\\*/|%(?:25)*2F)"
_LINK = re.compile(
    rf"({_SLASH}(?:source|callback){_SLASH}(?:[a-z]+{_SLASH})?)[\w.-]{{40,}}", re.ASCII | re.IGNORECASE
)

log = logging.getLogger(__name__)


def set_up_logging(level: str, form: str, secrets: Iterable[str], stream: TextIO = sys.stderr) -> None:
    """Configure the root logger. `form` is `console` or `json`; each secret becomes `***`."""
    handler = _Handler(stream)
    handler.setFormatter(_SecretHidingFormatter(form, secrets))
    handler.addFilter(_drop_expected_traceback)
    handler.addFilter(add_job_fields)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, lowest in _LEVELS.items():
        logging.getLogger(name).setLevel(lowest)


def log_crashes() -> None:
    """Send warnings and uncaught exceptions, which Python prints to standard error, through the log."""
    logging.captureWarnings(True)
    sys.excepthook = _log_crash
    threading.excepthook = lambda args: _log_crash(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _log_crash(args.exc_type, args.exc_value, args.exc_traceback)


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return the text with `***` for each secret, in any usual spelling, and for the tokens of our links."""
    return _hide(text, _pattern(secrets))


def _pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    forms = {form for secret in secrets if secret for form in _spellings(secret)}
    # the longest first, since one form may be the beginning of another
    longest_first = sorted(forms, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if forms else None


def _hide(text: str, pattern: re.Pattern[str] | None) -> str:
    return _LINK.sub(r"\1***", pattern.sub("***", text) if pattern else text)


def _spellings(secret: str) -> set[str]:
    """Return the secret as it is, in a URL, in the `repr` of text and bytes, and each of these in JSON."""
    plain = {secret, quote(secret, safe=""), quote(secret), repr(secret)[1:-1], repr(secret.encode())[2:-1]}
    return plain | {
        json.dumps(form, ensure_ascii=is_ascii)[1:-1] for form in plain for is_ascii in (True, False)
    }


def _log_crash(
    kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None
) -> None:
    if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
        log.critical("crashed: %s", kind.__name__, exc_info=(kind, error, traceback))


class _Handler(logging.StreamHandler[TextIO]):
    """Writes log lines. `logging` itself would print the secrets in arguments that it cannot format."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Write which log call failed, without its arguments."""
        error = sys.exc_info()[0]
        with suppress(Exception):
            self.stream.write(
                f"a line of {record.pathname}:{record.lineno} is not written: {error and error.__name__}\n"
            )


class _SecretHidingFormatter(logging.Formatter):
    """Hides secrets in whole log entries, tracebacks included: a library's exception text may hold one.

    In the plain form text of a provider or library cannot look like a line of the log or control a terminal:
    a message is one line, and the lines of its traceback are indented.
    """

    def __init__(self, form: str, secrets: Iterable[str]) -> None:
        super().__init__()
        self._pattern = _pattern(secrets)
        self._inner: logging.Formatter
        self._is_json = form == "json"
        if self._is_json:
            self._inner = JsonFormatter(
                "%(asctime)s %(levelname)s %(name)s %(message)s",
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
                json_ensure_ascii=False,
            )
        else:
            line = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
            self._inner = logging.Formatter(line, "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        if self._is_json:
            return _hide(self._inner.format(record), self._pattern)
        record = copy(record)
        # secrets first, since one may hold what is not printable
        record.msg, record.args = printable(_hide(record.getMessage(), self._pattern)), ()
        return printable_lines(_hide(self._inner.format(record), self._pattern))


def _drop_expected_traceback(record: logging.LogRecord) -> bool:
    """Remove the traceback of a failure that a library retries; a filter that accepts every record."""
    error = record.exc_info[1] if record.exc_info else None
    if record.name.startswith(("docket", "telegram")) and record.levelno < logging.CRITICAL and error:
        packages = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
        if isinstance(error, OSError | json.JSONDecodeError) or packages & {"redis", "telegram", "httpx"}:
            record.exc_info = None
    return True
