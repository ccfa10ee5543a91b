"""Destination checks of send methods: the chat, its topic, the replied message, the keyboard."""

import re
from dataclasses import dataclass
from typing import Any

from sandbox.telegram.bot_api.parameters import Call, refuse_unknown_keys
from sandbox.telegram.chats import PERMISSIONS, Chat, Message
from sandbox.telegram.errors import ApiError, bad_request, forbidden, migrated
from sandbox.telegram.state import TelegramState

# Libraries send `quote_parse_mode` also without a quote.
_REPLY_KEYS = {"message_id", "chat_id", "allow_sending_without_reply", "quote_parse_mode"}
# core.telegram.org/bots/api#inlinekeyboardbutton: text, style, and exactly one of the actions.
_BUTTON_ACTIONS = {
    "callback_data",
    "url",
    "copy_text",
    "switch_inline_query",
    "switch_inline_query_current_chat",
}
_BUTTON_KEYS = {"text", "style", "icon_custom_emoji_id"} | _BUTTON_ACTIONS
_BUTTON_STYLES = ("danger", "success", "primary")
_GENERAL_TOPIC = 1


@dataclass(frozen=True)
class Destination:
    chat: Chat
    thread_id: int | None
    reply_to: Message | None


def known_chat(telegram: TelegramState, call: Call) -> Chat:
    """Return the chat of `chat_id`. Raises 400 when there is none or it migrated."""
    chat = telegram.chats.get(call.get("chat_id"))
    if chat is None:
        raise bad_request("chat not found")
    if chat.migrated_to is not None:
        raise migrated(chat.migrated_to)
    return chat


def writable_chat(telegram: TelegramState, call: Call) -> Chat:
    """Return the chat of `chat_id` if the bot can write there. Raises 403 when it was blocked or removed."""
    chat = known_chat(telegram, call)
    if chat.is_bot_out and chat.type == "private":
        raise forbidden("bot was blocked by the user")
    if chat.is_bot_out:
        raise forbidden(f"bot was kicked from the {chat.type} chat")
    if chat.type == "channel" and chat.members.get(telegram.bot.id) != "administrator":
        raise bad_request("need administrator rights in the channel chat")
    return chat


def check_right(telegram: TelegramState, chat: Chat, permission: str) -> None:
    """Raise 400 where the bot lacks this permission; an administrator has all of them."""
    is_member = chat.members.get(telegram.bot.id) not in ("administrator", "creator")
    if is_member and permission in chat.forbidden | chat.bot_forbidden:
        raise bad_request(f"not enough rights to send {PERMISSIONS[permission]} to the chat")


def destination(telegram: TelegramState, call: Call, permission: str = "can_send_messages") -> Destination:
    """Return chat, topic and replied message of a send method. Raises 400 and 403."""
    chat = writable_chat(telegram, call)
    check_right(telegram, chat, permission)
    reply_to = _reply_to(telegram, chat, call.get("reply_parameters"))
    thread_id = call.get("message_thread_id")
    if thread_id is None and reply_to is not None:
        thread_id = reply_to.thread_id  # a reply lands where the message is
    check_topic(chat, thread_id)
    return Destination(chat, thread_id, reply_to)


def check_topic(chat: Chat, thread_id: int | None, *, general_has_id: bool = False) -> None:
    """Raise 400 unless the topic is open. The General topic has the id 1, for chat actions only."""
    if thread_id is None or (general_has_id and chat.is_forum and thread_id == _GENERAL_TOPIC):
        if chat.is_general_closed:
            raise bad_request("TOPIC_CLOSED")
        return
    topic = chat.topics.get(thread_id)
    if topic is None or topic.is_deleted:
        raise bad_request("message thread not found")
    if topic.is_closed:
        raise bad_request("TOPIC_CLOSED")


def inline_keyboard(markup: dict[str, Any] | None) -> dict[str, Any] | None:
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
    actions = [name for name in _BUTTON_ACTIONS & button.keys() if button[name] or name.startswith("switch")]
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


def _check_url(url: str) -> None:
    scheme, separator, rest = url.partition("://")
    if separator and scheme.lower() not in ("http", "https", "tg", "ton"):
        problem = "Unsupported URL protocol"
    elif not separator or not re.match(r"[^\s/]+", rest):
        problem = "Wrong HTTP URL"
    else:
        return
    raise bad_request(f"inline keyboard button URL '{url}' is invalid: {problem}")


def _button_error(reason: str) -> ApiError:
    return bad_request(f"can't parse inline keyboard button: {reason}")


def _reply_to(telegram: TelegramState, chat: Chat, wanted: dict[str, Any] | None) -> Message | None:
    if wanted is None:
        return None
    refuse_unknown_keys(wanted, _REPLY_KEYS, "reply_parameters")
    if "message_id" not in wanted:
        raise bad_request('can\'t find field "message_id"')
    message_id, may_fail = wanted.get("message_id"), wanted.get("allow_sending_without_reply", False)
    if not isinstance(message_id, int) or not isinstance(may_fail, bool):
        raise bad_request("can't parse reply parameters JSON object")
    same_chat = wanted.get("chat_id") in (None, chat.id)
    found = telegram.find_message(chat, message_id) if same_chat else None
    if found is None and not may_fail:
        raise bad_request("message to be replied not found")
    return found
