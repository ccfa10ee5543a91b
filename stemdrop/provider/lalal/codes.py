"""The table of LALAL.AI's errors: HTTP status, error code and text → the code that stemdrop handles.

Sources: the OpenAPI description of www.lalal.ai/api/v1 (version 1.1) and public clients. The texts are not
part of the contract; they decide only where there is no code.
"""

import re

from stemdrop.domain.failures import NO_CREDITS

NO_LICENSE, TOO_LARGE, NO_SOURCE, FAILED, CANNOT_BE_SPLIT = 403, 413, 451, 500, 501

_REFUSALS = {
    "exceeded_duration": NO_CREDITS,  # no minutes left
    "exceeded_size": TOO_LARGE,
    "max_duration": TOO_LARGE,
}
# The idempotency key belongs to a task that has begun, which LALAL.AI does not name.
KEY_USED = "idempotency_key_used"
# The task may have begun, so this error is no refusal.
INTERNAL_ERROR = "internal_error"

_LICENSE = re.compile(r"\blicen[cs]e\b", re.IGNORECASE)
_NOTHING_FOUND = re.compile(r"unable to detect", re.IGNORECASE)
_SOURCE_GONE = re.compile(r"has not been uploaded|already been deleted", re.IGNORECASE)


def refusal_code(status: int, code: str, text: str) -> int:
    """Return the code of a refused request."""
    if code in _REFUSALS:
        return _REFUSALS[code]
    if is_source_gone(text):
        return NO_SOURCE
    return NO_LICENSE if status == 400 and _LICENSE.search(text) else status


def failure_code(text: str) -> int:
    """Return the code of a task that has failed. Whether it was charged is not documented."""
    return CANNOT_BE_SPLIT if _NOTHING_FOUND.search(text) else FAILED


def is_source_gone(text: str) -> bool:
    """Whether the text says that the uploaded song cannot be read."""
    return bool(_SOURCE_GONE.search(text))
