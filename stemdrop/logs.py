"""Logging for operators: one line per event, for eyes or for machines, and no secret in any of them."""

import json
import logging
import sys
from collections.abc import Iterable
from typing import TextIO
from urllib.parse import quote

from pythonjsonlogger.json import JsonFormatter

# These log whole URLs (the bot's token is in them), users' words, or a traceback per retry.
_QUIET = ("httpx", "httpcore", "telegram", "docket.worker", "docket.dependencies", "asyncio")
_SILENT = ("docket.dependencies",)


def set_up_logging(level: str, form: str, secrets: Iterable[str], stream: TextIO = sys.stderr) -> None:
    """Configure the root logger. `form` is `console` or `json`; `secrets` are replaced wherever they are."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Hiding(_json() if form == "json" else _console(), secrets))
    handler.addFilter(_without_foreign_tracebacks)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)


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
        forms = {form for secret in secrets for form in _spellings(secret)}
        self._secrets = sorted(forms, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        line = self._inner.format(record)
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return line


def _spellings(secret: str) -> set[str]:
    """As it is, in a URL, in a `repr`, and each of these in JSON."""
    plain = {secret, quote(secret, safe=""), repr(secret)[1:-1]}
    return plain | {json.dumps(form, ensure_ascii=False)[1:-1] for form in plain}


def _without_foreign_tracebacks(record: logging.LogRecord) -> bool:
    if record.name.startswith(("docket", "telegram")) and record.levelno < logging.CRITICAL:
        record.exc_info = None
    return True
