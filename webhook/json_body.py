"""Reads a request's body as JSON, bounded in size and time."""

import asyncio
import json

from fastapi import Request
from starlette.requests import ClientDisconnect

from stemdrop.errors import BadContract
from webhook.errors import BodyIncomplete, BodyTooLarge, BodyTooSlow

MAX_BODY_BYTES = 1024 * 1024
# For the whole body; longer than the provider waits for its answer (15 s).
BODY_TIMEOUT_S = 30.0


async def read_json(
    request: Request, timeout_s: float = BODY_TIMEOUT_S, *, max_bytes: int = MAX_BODY_BYTES
) -> object:
    """Return the body. Raises `BodyTooLarge`, `BodyTooSlow`, `BodyIncomplete`, or `BadContract` (no JSON)."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > max_bytes:
        raise BodyTooLarge(f"the body is over {max_bytes} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise BodyTooLarge(f"the body is over {max_bytes} bytes")
    except TimeoutError as error:
        raise BodyTooSlow(f"the body did not arrive within {timeout_s:g} s") from error
    except ClientDisconnect as error:
        raise BodyIncomplete("the client disconnected before the end of the body") from error
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadContract("the body is not JSON") from error
