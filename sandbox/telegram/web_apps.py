"""Launching Web Apps: the address with the launch parameters, as Telegram's clients build it.

The sources are core.telegram.org/bots/webapps ("WebAppInitData", "Validating data received via the Mini App",
"ThemeParams") and core.telegram.org/api/bots/webapps. `signature` is random, since only Telegram has the key
with which it is made.
"""

import hmac
import json
import secrets
from urllib.parse import quote, urlencode

from sandbox.telegram.chats import User

# The version of the Bot API, by which clients tell Web Apps what they support.
_VERSION = "9.1"
# The colours of Telegram's web client, by day and by night.
_DAY = {
    "bg_color": "#ffffff",
    "text_color": "#000000",
    "hint_color": "#707579",
    "link_color": "#3390ec",
    "button_color": "#3390ec",
    "button_text_color": "#ffffff",
    "secondary_bg_color": "#f4f4f5",
    "header_bg_color": "#ffffff",
    "accent_text_color": "#3390ec",
    "section_bg_color": "#ffffff",
    "section_header_text_color": "#3390ec",
    "subtitle_text_color": "#707579",
    "destructive_text_color": "#e53935",
}
_NIGHT = {
    "bg_color": "#212121",
    "text_color": "#ffffff",
    "hint_color": "#aaaaaa",
    "link_color": "#8774e1",
    "button_color": "#8774e1",
    "button_text_color": "#ffffff",
    "secondary_bg_color": "#181818",
    "header_bg_color": "#212121",
    "accent_text_color": "#8774e1",
    "section_bg_color": "#212121",
    "section_header_text_color": "#aaaaaa",
    "subtitle_text_color": "#aaaaaa",
    "destructive_text_color": "#e53935",
}


def launch_url(url: str, bot_token: str, user: User, now: float, *, is_night: bool) -> str:
    """Return the address at which a client opens the Web App of an inline button for a user."""
    theme = json.dumps(_NIGHT if is_night else _DAY)
    launch = {
        "tgWebAppData": init_data(bot_token, user, now),
        "tgWebAppVersion": _VERSION,
        "tgWebAppPlatform": "web",
        "tgWebAppThemeParams": theme,
    }
    return f"{url}{'&' if '#' in url else '#'}{urlencode(launch, quote_via=quote)}"


def init_data(bot_token: str, user: User, now: float) -> str:
    """Return the signed query string that tells a Web App who opened it, and when (Unix seconds)."""
    names = ("id", "first_name", "last_name", "username", "language_code")
    person = {name: value for name, value in user.to_dict().items() if name in names}
    fields = {
        "query_id": f"AA{secrets.token_urlsafe(15)}",
        "user": json.dumps({**person, "allows_write_to_pm": True}, ensure_ascii=False, separators=(",", ":")),
        "auth_date": str(int(now)),
        "signature": secrets.token_urlsafe(64),
    }
    checked = "\n".join(f"{name}={fields[name]}" for name in sorted(fields))
    key = hmac.digest(b"WebAppData", bot_token.encode(), "sha256")
    signed = {**fields, "hash": hmac.digest(key, checked.encode(), "sha256").hex()}
    return urlencode(signed, quote_via=quote)
