"""One table: what went wrong → the HTTP status of the answer."""

import logging
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from telegram.error import TelegramError

from stemdrop.errors import (
    BadContract,
    ForgedRequest,
    SourceGone,
    StemdropError,
    StoreUnavailable,
    TryLater,
)

log = logging.getLogger(__name__)


class BodyTooLarge(StemdropError):
    """A request's body is over the limit."""


STATUS: dict[type[Exception], int] = {
    ForgedRequest: 403,
    SourceGone: 404,
    BodyTooLarge: 413,
    BadContract: 422,
    TelegramError: 502,
    StoreUnavailable: 503,
    TryLater: 503,
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
        headers = {"Retry-After": "5"} if status == 503 else None
        return JSONResponse({"detail": words}, status, headers=headers)

    return answer
