"""One table: what went wrong → the HTTP status of the answer; and how the answers are described."""

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from telegram.error import TelegramError

from stemdrop.errors import (
    BadContract,
    ForgedRequest,
    SourceGone,
    StemdropError,
    StoreUnavailable,
    TooOften,
    TryLater,
)

log = logging.getLogger(__name__)


class BrokenOff(StemdropError):
    """The client hung up in the middle of its request."""


class BodyTooSlow(StemdropError):
    """A request's body does not come to its end."""


class BodyTooLarge(StemdropError):
    """A request's body is over the limit."""


class UnknownProbe(StemdropError):
    """Nobody has laid this probe here, or it has served."""


class Problem(BaseModel):
    """The body of an answer that is not what was asked for; `detail` is a sentence for whoever reads logs."""

    detail: str


STATUS: dict[type[Exception], int] = {
    BrokenOff: 400,  # nobody is there to read it
    ForgedRequest: 403,
    SourceGone: 404,
    UnknownProbe: 404,
    BodyTooSlow: 408,
    BodyTooLarge: 413,
    BadContract: 422,
    TooOften: 429,
    TelegramError: 502,
    StoreUnavailable: 503,
    TryLater: 503,
}
_MEANINGS = {
    403: "The link, signature or secret is forged, expired, used up or somebody else's",
    404: "No longer served",
    408: "The body does not come to its end",
    413: "The body is over the limit",
    422: "The body is not the contract",
    429: "Asked for too often; `Retry-After` says when again",
    502: "Telegram does not answer",
    503: "Redis does not answer; `Retry-After` says when to try again",
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer", "minimum": 1}}}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """A route's answers with these statuses, for its description."""
    return {
        status: {"model": Problem, "description": _MEANINGS[status]}
        | ({"headers": _RETRY_AFTER} if status in (429, 503) else {})
        for status in statuses
    }


def add_error_handlers(app: FastAPI) -> None:
    """Answer each exception with its status."""
    for kind, status in STATUS.items():
        app.add_exception_handler(kind, _answer(status))


def _answer(status: int) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def answer(request: Request, error: Exception) -> JSONResponse:
        # our own words hold no secret; a library's may
        words = str(error) if isinstance(error, StemdropError) else "Telegram does not answer"
        # the route's path, not the request's: that holds a token
        route = getattr(request.scope.get("route"), "path", "?")
        log.warning("%s %s → %d: %s", request.method, route, status, words)
        return JSONResponse({"detail": words}, status, headers=_headers(status, error))

    return answer


def _headers(status: int, error: Exception) -> dict[str, str]:
    if isinstance(error, TooOften):
        return {"Retry-After": str(math.ceil(error.after_s))}
    return {"Retry-After": "5"} if status == 503 else {}
