"""The webhook's own exceptions, and the HTTP status for each exception that a route raises."""

import logging
import math
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from telegram.error import TelegramError

from stemdrop.errors import (
    BadContract,
    ForgedRequest,
    SeparationError,
    SourceGone,
    SourceUnavailable,
    StemdropError,
    StoreUnavailable,
    TooOften,
    TryLater,
)

log = logging.getLogger(__name__)


class BodyIncomplete(StemdropError):
    """The client closed the connection before the end of its request's body."""


class BodyTooSlow(StemdropError):
    """A request's body did not arrive in time."""


class BodyTooLarge(StemdropError):
    """A request's body is over the limit."""


class UnknownProbe(StemdropError):
    """This probe was never stored, has expired or was used."""


STATUS: dict[type[Exception], int] = {
    BodyIncomplete: 400,  # the client has left and does not receive it
    ForgedRequest: 403,
    SourceGone: 404,
    UnknownProbe: 404,
    BodyTooSlow: 408,
    BodyTooLarge: 413,
    BadContract: 422,
    TooOften: 429,
    SeparationError: 503,  # the provider that must be asked to verify its callback does not answer
    SourceUnavailable: 503,
    TelegramError: 503,
    StoreUnavailable: 503,
    TryLater: 503,
}
RETRY_AFTER_S = 5


def error_handlers() -> dict[Any, Any]:
    """Return the handlers of `STATUS`. Starlette answers other exceptions with 500, and uvicorn logs them."""
    return dict.fromkeys(STATUS, _answer)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    # our own error texts hold no secret; a library's may
    detail = str(error) if isinstance(error, StemdropError) else "Telegram does not answer"
    # the route's path, not the request's, which holds a token
    route = getattr(request.scope.get("route"), "path", "?")
    log.warning("%s %s → %d: %s", request.method, route, status, detail)
    headers = {}
    if isinstance(error, TooOften):
        headers["Retry-After"] = str(math.ceil(error.after_s))
    elif status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return JSONResponse({"detail": detail}, status, headers)
