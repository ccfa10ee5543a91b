"""The JSON of every answer, `{"code", "msg", "data"}`, and the checks of every request."""

import hmac
import json
from typing import Any

from fastapi import Request, params
from fastapi.responses import JSONResponse

MAX_BODY_BYTES = 1024**2


class Refusal(Exception):
    """A refused request, with the contract's code and a sentence for the client."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def success(data: Any) -> JSONResponse:
    return JSONResponse({"code": 200, "msg": "success", "data": data})


async def refuse(_request: Request, refusal: Exception) -> JSONResponse:
    """Answer a `Refusal` with its code in the body; the HTTP status is 200, or 401 for a wrong key."""
    assert isinstance(refusal, Refusal)  # noqa: S101 - registered for this type only
    body = {"code": refusal.code, "msg": refusal.message, "data": None}
    return JSONResponse(body, status_code=401 if refusal.code == 401 else 200)


def key_check(api_key: str) -> params.Depends:
    """Return a dependency that refuses requests without the bearer key."""
    expected = f"Bearer {api_key}".encode()

    async def check(request: Request) -> None:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected):
            raise Refusal(401, "the API key is missing or wrong")

    return params.Depends(check)


async def json_body(request: Request) -> dict[str, Any]:
    """Return the request's JSON object. Raises `Refusal` for other content and above `MAX_BODY_BYTES`."""
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
