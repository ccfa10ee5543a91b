"""A request's body as JSON, whatever is sent: bounded in size and time, and no exception of the parser's."""

import asyncio
import json

from fastapi import Request
from starlette.requests import ClientDisconnect

from stemdrop.errors import BadContract
from webhook.errors import BodyTooLarge, BodyTooSlow, BrokenOff

MAX_BODY_BYTES = 1024 * 1024
# For the whole of it. Longer than the provider waits for its answer (15 s).
BODY_TIMEOUT_S = 30.0


async def read_json(
    request: Request, within_s: float = BODY_TIMEOUT_S, *, max_bytes: int = MAX_BODY_BYTES
) -> object:
    """Raises `BodyTooLarge` over so many bytes, `BodyTooSlow` when it is not there in so many seconds,
    `BrokenOff` when the client hangs up before its end, and `BadContract` for what is not JSON."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > max_bytes:
        raise BodyTooLarge(f"the body is over {max_bytes} bytes")
    try:
        async with asyncio.timeout(within_s):
            body = await _read(request, max_bytes)
    except TimeoutError as error:
        raise BodyTooSlow(f"the body is not there in {within_s:g} s") from error
    except ClientDisconnect as error:
        raise BrokenOff("the client hung up before the end of its body") from error
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadContract("the body is not JSON") from error


async def _read(request: Request, max_bytes: int) -> bytearray:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise BodyTooLarge(f"the body is over {max_bytes} bytes")
    return body
