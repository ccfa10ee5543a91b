"""Reads a request's body as JSON, bounded in size and time."""

import asyncio

from starlette.requests import Request

from stemdrop.provider.json_body import parse_json
from webhook.errors import BodyIncomplete, BodyTooLarge, BodyTooSlow

MAX_BODY_BYTES = 1024 * 1024
# For the whole body; longer than the provider waits for its answer (15 s).
BODY_TIMEOUT_S = 30.0


async def read_json(
    request: Request, timeout_s: float = BODY_TIMEOUT_S, *, max_bytes: int = MAX_BODY_BYTES
) -> object:
    """Return the body. Raises as `read_body`, and `BadContract` (no JSON)."""
    return parse_json(await read_body(request, timeout_s, max_bytes=max_bytes))


async def read_body(
    request: Request, timeout_s: float = BODY_TIMEOUT_S, *, max_bytes: int = MAX_BODY_BYTES
) -> bytes:
    """Return the body as it came. Raises `BodyTooLarge`, `BodyTooSlow` or `BodyIncomplete`."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > max_bytes:
        raise BodyTooLarge(f"the body is over {max_bytes} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            is_complete = False
            while not is_complete:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise BodyIncomplete("the client disconnected before the end of the body")
                body += message.get("body", b"")
                if len(body) > max_bytes:
                    raise BodyTooLarge(f"the body is over {max_bytes} bytes")
                is_complete = not message.get("more_body")
    except TimeoutError as error:
        raise BodyTooSlow(f"the body did not arrive within {timeout_s:g} s") from error
    return bytes(body)
