"""The shape of every answer: `{"code", "msg", "data"}`; refusals have another code and no data."""

import hmac
import json
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

MAX_BODY_BYTES = 1024**2


class Refusal(Exception):
    """A request that is not granted, with the contract's code for it and a sentence for whoever sent it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def success(data: Any) -> JSONResponse:
    return JSONResponse({"code": 200, "msg": "success", "data": data})


async def refuse(_request: Request, refusal: Exception) -> JSONResponse:
    """Handler for `Refusal`. HTTP says 200 and the body says why, except for the key: 401 in both."""
    assert isinstance(refusal, Refusal)  # noqa: S101 - registered for nothing else
    body = {"code": refusal.code, "msg": refusal.message, "data": None}
    return JSONResponse(body, status_code=401 if refusal.code == 401 else 200)


class KeyCheck:
    """Dependency that lets only requests with the bearer key through."""

    def __init__(self, api_key: str) -> None:
        self._expected = f"Bearer {api_key}".encode()

    async def __call__(self, request: Request) -> None:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, self._expected):
            raise Refusal(401, "the API key is missing or wrong")


async def json_body(request: Request) -> dict[str, Any]:
    """The request's JSON object; refused when it is something else or far larger than any request of the
    contract.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Refusal(413, "the request is too large")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "the request is not JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "the request must be a JSON object")
    return value
