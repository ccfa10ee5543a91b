"""The table of this contract's codes: host, code and message → the code that stemdrop handles.

Sources: the status codes on the create and callback pages of docs.sunoapi.org and docs.kie.ai, the credits
page of docs.sunoapi.org (429: insufficient credits), and public clients (402). Other codes stay.
"""

import re
from urllib.parse import urlsplit

from stemdrop.domain.failures import NO_CREDITS, TOO_BUSY
from stemdrop.errors import BadContract

_KIE = "api.kie.ai"  # its codes are those that we handle
_ANY = ""  # every other host: sunoapi, our separator, an unknown one

_CREDITS = re.compile(r"credit|balance|积分|余额", re.IGNORECASE)
_LACK = r"(insufficient|not enough|isn.t enough|exhausted|used up|run out|ran out|out of|不足)"
_NO_CREDITS = re.compile(
    rf"{_LACK}.{{0,20}}(credit|balance)|(credit|balance|积分|余额).{{0,20}}{_LACK}|top.?up|recharge",
    re.IGNORECASE,
)
# (host, code, pattern of the message) → our code; the first row that fits counts
_ROWS: tuple[tuple[str, int, re.Pattern[str] | None, int], ...] = (
    (_ANY, 429, _CREDITS, NO_CREDITS),
    (_ANY, 405, None, TOO_BUSY),
    (_ANY, 430, None, TOO_BUSY),
)
REFUNDED = 531


def known_code(api_url: str, code: int, message: object) -> int:
    """Return the code as which a host's code is handled; a message 'no credits' decides whatever the code."""
    if code == 200:
        return code
    text = message[:500] if isinstance(message, str) else ""
    if code != REFUNDED and _NO_CREDITS.search(text):
        return NO_CREDITS
    host = _KIE if urlsplit(api_url).hostname == _KIE else _ANY
    fitting = (
        known for of, given, words, known in _ROWS if (of, given) == (host, code) and _fits(words, text)
    )
    return next(fitting, code)


def read_code(value: object) -> int:
    """Return a code that is a number or a text of digits. Raises `BadContract`."""
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 9999:
        raise BadContract("code is missing or no number")
    return value


def _fits(words: re.Pattern[str] | None, text: str) -> bool:
    return words is None or bool(words.search(text))
