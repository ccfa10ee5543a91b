"""The table of fal's errors: HTTP status and error type → the code that stemdrop handles.

Sources: fal.ai/docs, 'Model Errors', 'Request Errors' and the FAQ of the model APIs (what is charged); for an
account without balance, which these do not show, reports of users.
"""

import re
from typing import Any

from stemdrop.domain.failures import NO_CREDITS

# Server errors (500 and more) are never charged; other errors may be.
UNCHARGED = 531
MAINTENANCE = 455
FAILED = 500

# type of an error that the song causes → our code
_OF_SONG = {
    "file_download_error": 451,
    "file_too_large": 413,
    "audio_duration_too_long": 413,
    "audio_duration_too_short": 400,
    "unsupported_audio_format": 400,
    "content_policy_violation": 400,
    "no_media_generated": 501,
}
_NO_RUNNER = "runner_scheduling_failure"
_NO_BALANCE = re.compile(r"exhausted.balance|top.?up", re.IGNORECASE)


def error_types(body: object) -> list[str]:
    """Return the types of a body's errors: a list from the model, or one field from the queue."""
    if not isinstance(body, dict):
        return []
    detail = body.get("detail")
    listed = [it.get("type") for it in detail if isinstance(it, dict)] if isinstance(detail, list) else []
    return [it for it in (*listed, body.get("error_type")) if isinstance(it, str) and it]


def refusal(status: int, body: dict[str, Any]) -> int | None:
    """Return the code of a refused call; `None`: the call may have been accepted."""
    if status == 403 and _NO_BALANCE.search(str(body.get("detail"))[:500]):
        return NO_CREDITS
    if status >= 500:
        return MAINTENANCE if _NO_RUNNER in error_types(body) else None
    is_refusal = 400 <= status < 500 and status != 408
    return _of_song(body) or status if is_refusal else None


def task_failure(status: int, body: object) -> int:
    """Return the code of a request that was accepted and has failed."""
    if status >= 500:
        return UNCHARGED
    return _of_song(body) or (status if status in (400, 413, 422) else FAILED)


def _of_song(body: object) -> int | None:
    return next((_OF_SONG[it] for it in error_types(body) if it in _OF_SONG), None)
