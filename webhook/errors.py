"""One table: what went wrong → the HTTP status of the answer."""

import logging

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from stemdrop.errors import BadContract, ForgedRequest, SourceGone, StemdropError, StoreUnavailable

log = logging.getLogger(__name__)


class BodyTooLarge(StemdropError):
    """A request's body is over the limit."""


STATUS = {
    ForgedRequest: 403,
    SourceGone: 404,
    BodyTooLarge: 413,
    BadContract: 422,
    StoreUnavailable: 503,
}


def add_error_handlers(app: FastAPI) -> None:
    """Answer each of our exceptions with its status and its own words; all are free of secrets."""
    for kind, status in STATUS.items():
        app.add_exception_handler(kind, _answer(status))


def _answer(status: int):  # type: ignore[no-untyped-def]
    async def answer(request: Request, error: Exception) -> JSONResponse:
        # the route's path, not the request's: that holds a token
        route = getattr(request.scope.get("route"), "path", "?")
        log.warning("%s %s → %d: %s", request.method, route, status, error)
        headers = {"Retry-After": "5"} if status == 503 else None
        return JSONResponse({"detail": str(error)}, status, headers=headers)

    return answer
