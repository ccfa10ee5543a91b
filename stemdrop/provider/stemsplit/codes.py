"""The table of StemSplit's error codes: its code → the code that stemdrop handles.

Source: the documentation of its SDKs (stemsplit-python and @stemsplit/sdk 0.1.0). A code that is not here is
handled as its HTTP status.
"""

from stemdrop.domain.failures import NO_CREDITS, TOO_BUSY

_CODES = {
    "MISSING_API_KEY": 401,
    "INVALID_API_KEY": 401,
    "INVALID_API_KEY_FORMAT": 401,
    "API_KEY_REVOKED": 403,
    "API_KEY_EXPIRED": 403,
    "EMAIL_NOT_VERIFIED": 403,
    "ACCOUNT_SUSPENDED": 403,
    "INSUFFICIENT_CREDITS": NO_CREDITS,
    "JOB_NOT_FOUND": 404,
    "FILE_TOO_LARGE": 413,
    "AUDIO_TOO_LONG": 413,
    "AUDIO_TOO_SHORT": 422,
    "UNSUPPORTED_FORMAT": 400,
    "RATE_LIMIT_EXCEEDED": TOO_BUSY,
}
# An error of the API itself with this status: it cannot take the request (RFC 9110, 15.6.4).
_UNAVAILABLE, MAINTENANCE = 503, 455
# The codes of a failed task: credits may have been kept, or certainly none were.
FAILED, UNCHARGED = 500, 531


def known_code(status: int, code: str) -> int:
    """Return the code as which an error is handled; 0 if the request may have been accepted."""
    if status == _UNAVAILABLE:
        return MAINTENANCE
    is_refusal = 400 <= status < 500 and status != 408
    return _CODES.get(code, status if is_refusal else 0)
