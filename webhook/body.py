"""A request's body as JSON, whatever is sent: bounded in size, and never an exception of the parser's."""

import json

from fastapi import Request

from stemdrop.errors import BadContract
from webhook.errors import BodyTooLarge

MAX_BODY_BYTES = 1024 * 1024


async def read_json(request: Request) -> object:
    """Raises `BodyTooLarge` over 1 MiB and `BadContract` for what is not JSON."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > MAX_BODY_BYTES:
        raise BodyTooLarge("the body is over 1 MiB")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge("the body is over 1 MiB")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadContract("the body is not JSON") from error
