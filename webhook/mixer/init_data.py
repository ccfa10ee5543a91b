"""Verifies what Telegram tells a Web App of the person who opened it (core.telegram.org/bots/webapps)."""

import hmac
import json
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from stemdrop.errors import ForgedRequest

MAX_INIT_DATA_AGE_S = 24 * 3600
# How far Telegram's clock may be ahead of ours.
_CLOCK_SKEW_S = 60
_MAX_FIELDS = 32


@dataclass(frozen=True, slots=True)
class Visitor:
    """The person who opened the Web App; `language_code` is that of Telegram's app, or empty."""

    id: int
    language_code: str


def read_init_data(init_data: str, bot_token: str, now: float) -> Visitor:
    """Return who opened the Web App. Raises `ForgedRequest`, also for data over a day older than `now`."""
    try:
        fields = dict(
            parse_qsl(
                init_data,
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=_MAX_FIELDS,
            )
        )
        received = fields.pop("hash")
        checked = "\n".join(f"{name}={fields[name]}" for name in sorted(fields)).encode()
    except (ValueError, KeyError) as error:
        raise ForgedRequest("the Web App's data is malformed") from error
    key = hmac.digest(b"WebAppData", bot_token.encode(), "sha256")
    expected = hmac.digest(key, checked, "sha256").hex()
    if not hmac.compare_digest(expected.encode(), received.encode(errors="surrogatepass")):
        raise ForgedRequest("the Web App's data is not signed with our bot's token")
    signed_at = fields.get("auth_date", "")
    if not re.fullmatch(r"\d{1,12}", signed_at, re.ASCII):
        raise ForgedRequest("the Web App's data has no readable time")
    if not -_CLOCK_SKEW_S <= now - int(signed_at) <= MAX_INIT_DATA_AGE_S:
        raise ForgedRequest("the Web App's data is too old or too new")
    return _visitor(fields.get("user", ""))


def _visitor(user_json: str) -> Visitor:
    try:
        user = json.loads(user_json)
        return Visitor(int(user["id"]), str(user.get("language_code", "")))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ForgedRequest("the Web App's data names no user") from error
