"""The table of the Bot API methods that the local Telegram supports, with their parameters.

The source is core.telegram.org/bots/api. The table has the methods that stemdrop calls and those that bots
call first; any other method or parameter is refused by name.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sandbox.telegram.bot_api import media_methods, message_methods, misc_methods, update_methods
from sandbox.telegram.bot_api.parameters import (
    Call,
    Kind,
    Parameter,
    boolean,
    chat_reference,
    input_file,
    integer,
    json_array,
    json_object,
    string,
)
from sandbox.telegram.errors import QUERY_TOO_OLD
from sandbox.telegram.state import TelegramState

Handler = Callable[[TelegramState, Call], Awaitable[Any]]


@dataclass(frozen=True)
class Method:
    handler: Handler
    parameters: tuple[Parameter, ...] = ()


# Parameter → its type.
_KINDS: dict[str, Kind] = {
    "chat_id": chat_reference,
    **dict.fromkeys(("text", "parse_mode", "caption", "title", "performer", "action", "file_id"), string),
    **dict.fromkeys(("url", "secret_token", "callback_query_id"), string),
    **dict.fromkeys(("language_code", "description", "short_description"), string),
    **dict.fromkeys(("message_id", "message_thread_id", "user_id", "duration"), integer),
    **dict.fromkeys(("offset", "limit", "timeout", "max_connections"), integer),
    **dict.fromkeys(("disable_content_type_detection", "drop_pending_updates"), boolean),
    **dict.fromkeys(("disable_notification", "show_alert", "is_big"), boolean),
    **dict.fromkeys(("allowed_updates", "media", "commands", "reaction"), json_array),
    **dict.fromkeys(("entities", "caption_entities"), json_array),
    **dict.fromkeys(("reply_markup", "reply_parameters", "link_preview_options", "scope"), json_object),
    **dict.fromkeys(("audio", "voice", "document", "photo", "thumbnail"), input_file),
}
# Telegram's words for a required parameter that is absent or empty.
_MISSING = {
    "chat_id": "chat_id is empty",
    "message_id": "message identifier is not specified",
    "text": "message text is empty",
    "media": 'parameter "media" is required',
    "file_id": "file_id not specified",
    "callback_query_id": QUERY_TOO_OLD,
    "user_id": "invalid user_id specified",
    "action": "wrong parameter action in request",
    **{name: f"there is no {name} in the request" for name in ("audio", "voice", "document", "photo")},
}
_PLACE = "message_thread_id reply_parameters disable_notification"
_FORMAT = "parse_mode entities"
_CAPTION = "caption parse_mode caption_entities"


def _method(handler: Handler, required: str = "", optional: str = "") -> Method:
    parameters = [Parameter(name, _KINDS[name], True, _MISSING.get(name, "")) for name in required.split()]
    parameters += [Parameter(name, _KINDS[name]) for name in optional.split()]
    return Method(handler, tuple(parameters))


METHODS: dict[str, Method] = {
    "getMe": _method(misc_methods.get_me),
    "getUpdates": _method(update_methods.get_updates, "", "offset limit timeout allowed_updates"),
    "setWebhook": _method(
        update_methods.set_webhook,
        optional="url secret_token max_connections allowed_updates drop_pending_updates",
    ),
    "deleteWebhook": _method(update_methods.delete_webhook, "", "drop_pending_updates"),
    "getWebhookInfo": _method(update_methods.get_webhook_info),
    "sendMessage": _method(
        message_methods.send_message, "chat_id text", f"{_FORMAT} link_preview_options {_PLACE} reply_markup"
    ),
    "editMessageText": _method(
        message_methods.edit_message_text,
        "chat_id message_id text",
        f"{_FORMAT} link_preview_options reply_markup",
    ),
    "editMessageReplyMarkup": _method(
        message_methods.edit_message_reply_markup, "chat_id message_id", "reply_markup"
    ),
    "deleteMessage": _method(message_methods.delete_message, "chat_id message_id"),
    "sendAudio": _method(
        media_methods.send_audio,
        "chat_id audio",
        f"duration performer title thumbnail {_CAPTION} {_PLACE} reply_markup",
    ),
    "sendVoice": _method(
        media_methods.send_voice, "chat_id voice", f"duration {_CAPTION} {_PLACE} reply_markup"
    ),
    "sendDocument": _method(
        media_methods.send_document,
        "chat_id document",
        f"disable_content_type_detection thumbnail {_CAPTION} {_PLACE} reply_markup",
    ),
    "sendPhoto": _method(media_methods.send_photo, "chat_id photo", f"{_CAPTION} {_PLACE} reply_markup"),
    "sendMediaGroup": _method(media_methods.send_media_group, "chat_id media", _PLACE),
    "getFile": _method(media_methods.get_file, "file_id"),
    "answerCallbackQuery": _method(
        misc_methods.answer_callback_query, "callback_query_id", "text show_alert"
    ),
    "sendChatAction": _method(misc_methods.send_chat_action, "chat_id action", "message_thread_id"),
    "setMyCommands": _method(misc_methods.set_my_commands, "commands", "scope language_code"),
    "getMyCommands": _method(misc_methods.get_my_commands, "", "scope language_code"),
    "deleteMyCommands": _method(misc_methods.delete_my_commands, "", "scope language_code"),
    "setMyDescription": _method(misc_methods.set_my_description, "", "description language_code"),
    "setMyShortDescription": _method(
        misc_methods.set_my_short_description, "", "short_description language_code"
    ),
    "setMessageReaction": _method(misc_methods.set_message_reaction, "chat_id message_id", "reaction is_big"),
    "getChat": _method(misc_methods.get_chat, "chat_id"),
    "getChatMember": _method(misc_methods.get_chat_member, "chat_id user_id"),
}
