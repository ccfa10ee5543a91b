"""The events of all chats as server-sent events, which a browser resumes by `Last-Event-ID`.

An id is `<run>:<number>`. When it is unknown or of another run, or when later events are no longer kept, the
client gets `restarted`: it has to read everything anew.
"""

import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.responses import StreamingResponse

from sandbox.telegram.state import TelegramState

_HEARTBEAT_S = 15


def position(telegram: TelegramState) -> str:
    """Return the id of the latest event."""
    return f"{telegram.run_id}:{telegram.events.last_number}"


def event_stream(telegram: TelegramState, after: str) -> StreamingResponse:
    return StreamingResponse(
        _lines(telegram, after), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _lines(telegram: TelegramState, after: str) -> AsyncIterator[str]:
    events, number = telegram.events, _number(telegram, after)
    yield "retry: 1000\n\n"
    while not telegram.closing.is_set():
        if not events.has_all_after(number):
            number = events.last_number
            yield f"id: {position(telegram)}\nevent: restarted\ndata: {{}}\n\n"
        with suppress(TimeoutError):
            await telegram.wait_for(
                lambda: telegram.closing.is_set() or events.last_number > number,  # noqa: B023 - at once
                _HEARTBEAT_S,
            )
        if events.last_number == number:
            yield ": still here\n\n"
        elif events.has_all_after(number):
            for latest, event in events.after(number):
                number = latest
                data = {"number": number, "chat_id": event.chat_id, "kind": event.kind}
                data["content"] = event.content
                yield f"id: {telegram.run_id}:{number}\ndata: {json.dumps(data)}\n\n"


def _number(telegram: TelegramState, event_id: str) -> int:
    """Return the number in an id of this run, and -1 for an unknown id."""
    run_id, _, digits = event_id.partition(":")
    is_ours = run_id == telegram.run_id and re.fullmatch(r"\d{1,18}", digits, re.ASCII)
    number = int(digits) if is_ours else -1
    return number if number <= telegram.events.last_number else -1
