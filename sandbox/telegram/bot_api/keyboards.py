"""Inline keyboards and their buttons."""

import ipaddress
import re
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from sandbox.telegram.bot_api.parameters import refuse_unknown_keys
from sandbox.telegram.chats import Chat
from sandbox.telegram.errors import ApiError, bad_request

# core.telegram.org/bots/api#inlinekeyboardbutton: text, style, and exactly one of the actions.
_BUTTON_ACTIONS = {
    "callback_data",
    "url",
    "web_app",
    "copy_text",
    "switch_inline_query",
    "switch_inline_query_current_chat",
}
_BUTTON_KEYS = {"text", "style", "icon_custom_emoji_id"} | _BUTTON_ACTIONS
_BUTTON_STYLES = ("danger", "success", "primary")


def inline_keyboard(markup: dict[str, Any] | None, chat: Chat) -> dict[str, Any] | None:
    """Return a valid inline keyboard, None without buttons. Raises 400, also for other kinds of markup."""
    if markup is None:
        return None
    refuse_unknown_keys(
        markup, {"inline_keyboard"}, "reply_markup (the local Telegram supports inline keyboards only)"
    )
    rows = markup.get("inline_keyboard")
    if not isinstance(rows, list):
        raise bad_request('field "inline_keyboard" must be of type Array')
    if not all(isinstance(row, list) for row in rows):
        raise bad_request("can't parse inline keyboard button: expected an Array of Arrays")
    buttons = [button for row in rows for button in row]
    for button in buttons:
        _check_button(button)
    if chat.type != "private" and any("web_app" in button for button in buttons):
        raise bad_request("BUTTON_TYPE_INVALID")
    if len(buttons) > 100:
        raise bad_request("reply markup is too long")
    return markup if buttons else None


def _check_button(button: Any) -> None:
    if not isinstance(button, dict):
        raise _button_error("expected an Object")
    refuse_unknown_keys(button, _BUTTON_KEYS, "InlineKeyboardButton")
    if "text" not in button:
        raise _button_error('Can\'t find field "text"')
    if not isinstance(button["text"], str):
        raise _button_error('Field "text" must be of type String')
    if not button["text"].strip():
        raise _button_error("text must be non-empty")
    if button.get("style", "primary") not in _BUTTON_STYLES:
        raise _button_error("invalid button style specified")
    # An empty string is no action, except as a query.
    given = _BUTTON_ACTIONS & button.keys()
    actions = [name for name in given if button[name] not in ("", None) or name.startswith("switch")]
    if not actions:
        raise _button_error("Text buttons are unallowed in the inline keyboard")
    if len(actions) > 1:
        raise _button_error("exactly one action is allowed")
    _check_action(button)


def _check_action(button: dict[str, Any]) -> None:
    if "callback_data" in button:
        data = button["callback_data"]
        if not isinstance(data, str) or len(data.encode()) > 64:
            raise bad_request("BUTTON_DATA_INVALID")
    if "copy_text" in button:
        copied = button["copy_text"].get("text") if isinstance(button["copy_text"], dict) else None
        if not isinstance(copied, str) or not 1 <= len(copied) <= 256:
            raise bad_request("BUTTON_COPY_TEXT_INVALID")
    if "url" in button:
        _check_url(str(button["url"]))
    if "web_app" in button:
        _check_web_app(button["web_app"])


def _check_url(url: str) -> None:
    scheme, separator, rest = url.partition("://")
    if separator and scheme.lower() not in ("http", "https", "tg", "ton"):
        problem = "Unsupported URL protocol"
    elif not separator or not re.match(r"[^\s/]+", rest):
        problem = "Wrong HTTP URL"
    else:
        return
    raise bad_request(f"inline keyboard button URL '{url}' is invalid: {problem}")


def _check_web_app(web_app: Any) -> None:
    """Raise 400 where TDLib refuses a Web App's address (InlineKeyboardButton, LinkManager::check_link_impl).

    Telegram's test environment accepts HTTP without TLS, too (core.telegram.org/bots/webapps, "Using bots in
    the test environment"). So does the local Telegram, for addresses of this machine.
    """
    if not isinstance(web_app, dict):
        raise _button_error('Field "web_app" must be of type Object')
    refuse_unknown_keys(web_app, {"url"}, "WebAppInfo")
    if "url" not in web_app:
        raise _button_error('Can\'t find field "url"')
    url = web_app["url"]
    if not isinstance(url, str):
        raise _button_error('Field "url" must be of type String')
    if re.match(r"tg:(//)?user\?id=\d", url, re.IGNORECASE):
        raise bad_request("link to a user can't be used in Web App URL buttons")
    if problem := _web_app_problem(url):
        raise bad_request(f"inline keyboard button Web App URL '{url}' is invalid: {problem}")


def _web_app_problem(url: str) -> str:
    if not url:
        return "URL host is empty"
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:  # a malformed IPv6 address
        return "Wrong HTTP URL"
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        return "Only HTTPS links are allowed"
    if not host:
        return "URL host is empty"
    return "" if "." in host or ":" in host else "Wrong HTTP URL"


def is_loopback(host: str) -> bool:
    """Return whether `host` is a loopback address; a host name is not one."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _button_error(reason: str) -> ApiError:
    return bad_request(f"can't parse inline keyboard button: {reason}")
