"""The events of all chats as server-sent events, which a browser resumes by `Last-Event-ID`.

An id is `<run>:<number>`. A client of another run, or without an id that is known, first gets `restarted`: it
has to read everything anew.
"""

import json
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.responses import StreamingResponse

from sandbox.telegram.state import TelegramState

_HEARTBEAT_S = 15


def position(telegram: TelegramState) -> str:
    """Return the id of the latest event."""
    return f"{telegram.run_id}:{len(telegram.events)}"


def event_stream(telegram: TelegramState, after: str) -> StreamingResponse:
    return StreamingResponse(
        _lines(telegram, after), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _lines(telegram: TelegramState, after: str) -> AsyncIterator[str]:
    run_id, _, digits = after.partition(":")
    number = int(digits) if digits.isdecimal() else -1
    yield "retry: 1000\n\n"
    if run_id != telegram.run_id or not 0 <= number <= len(telegram.events):
        number = len(telegram.events)
        yield f"id: {position(telegram)}\nevent: restarted\ndata: {{}}\n\n"
    while not telegram.closing.is_set():
        with suppress(TimeoutError):
            await telegram.wait_for(
                lambda: telegram.closing.is_set() or len(telegram.events) > number,  # noqa: B023 - at once
                _HEARTBEAT_S,
            )
        new = telegram.events[number:]
        for event in new:
            number = event.number
            data = {"number": number, "chat_id": event.chat_id, "kind": event.kind, "content": event.content}
            yield f"id: {telegram.run_id}:{number}\ndata: {json.dumps(data)}\n\n"
        if not new:
            yield ": still here\n\n"
