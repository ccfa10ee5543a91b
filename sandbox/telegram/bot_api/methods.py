"""The table of the Bot API methods that the local Telegram supports, with their parameters.

From core.telegram.org/bots/api. It holds what stemdrop and python-telegram-bot call; any other method or
parameter is refused by name.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sandbox.telegram.bot_api import media_methods, message_methods, misc_methods, update_methods
from sandbox.telegram.bot_api.parameters import (
    Call,
    Parameter,
    boolean,
    chat_reference,
    input_file,
    integer,
    json_array,
    json_object,
    string,
)
from sandbox.telegram.state import TelegramState

Handler = Callable[[TelegramState, Call], Awaitable[Any]]


@dataclass(frozen=True)
class Method:
    handler: Handler
    parameters: tuple[Parameter, ...] = ()


_CHAT = Parameter("chat_id", chat_reference, required=True, missing="chat_id is empty")
_MESSAGE = Parameter("message_id", integer, required=True, missing="message identifier is not specified")
_TEXT = Parameter("text", string, required=True, missing="message text is empty")
_MARKUP = Parameter("reply_markup", json_object)
_LANGUAGE = Parameter("language_code", string)
_DROP_PENDING = Parameter("drop_pending_updates", boolean)
_ALLOWED = Parameter("allowed_updates", json_array)
_THREAD = Parameter("message_thread_id", integer)
_LINK_PREVIEW = Parameter("link_preview_options", json_object)
_CAPTION = Parameter("caption", string)
_THUMBNAIL = Parameter("thumbnail", input_file)
_DURATION = Parameter("duration", integer)
_SENDING = (_THREAD, Parameter("reply_parameters", json_object))


def _file(name: str) -> Parameter:
    return Parameter(name, input_file, required=True, missing=f"there is no {name} in the request")


METHODS: dict[str, Method] = {
    "getMe": Method(misc_methods.get_me),
    "getUpdates": Method(
        update_methods.get_updates,
        (Parameter("offset", integer), Parameter("limit", integer), Parameter("timeout", integer), _ALLOWED),
    ),
    "setWebhook": Method(
        update_methods.set_webhook,
        (
            Parameter("url", string),
            Parameter("secret_token", string),
            Parameter("max_connections", integer),
            _ALLOWED,
            _DROP_PENDING,
        ),
    ),
    "deleteWebhook": Method(update_methods.delete_webhook, (_DROP_PENDING,)),
    "getWebhookInfo": Method(update_methods.get_webhook_info),
    "sendMessage": Method(message_methods.send_message, (_CHAT, _TEXT, _LINK_PREVIEW, *_SENDING, _MARKUP)),
    "editMessageText": Method(
        message_methods.edit_message_text, (_CHAT, _MESSAGE, _TEXT, _LINK_PREVIEW, _MARKUP)
    ),
    "deleteMessage": Method(message_methods.delete_message, (_CHAT, _MESSAGE)),
    "sendAudio": Method(
        media_methods.send_audio,
        (
            _CHAT,
            _file("audio"),
            _DURATION,
            Parameter("performer", string),
            Parameter("title", string),
            _THUMBNAIL,
            _CAPTION,
            *_SENDING,
            _MARKUP,
        ),
    ),
    "sendVoice": Method(
        media_methods.send_voice, (_CHAT, _file("voice"), _DURATION, _CAPTION, *_SENDING, _MARKUP)
    ),
    "sendDocument": Method(
        media_methods.send_document,
        (
            _CHAT,
            _file("document"),
            Parameter("disable_content_type_detection", boolean),
            _THUMBNAIL,
            _CAPTION,
            *_SENDING,
            _MARKUP,
        ),
    ),
    "sendMediaGroup": Method(
        media_methods.send_media_group,
        (
            _CHAT,
            Parameter("media", json_array, required=True, missing="can't parse media JSON object"),
            *_SENDING,
        ),
    ),
    "getFile": Method(
        media_methods.get_file,
        (Parameter("file_id", string, required=True, missing="file_id not specified"),),
    ),
    "answerCallbackQuery": Method(
        misc_methods.answer_callback_query,
        (
            Parameter("callback_query_id", string, required=True, missing="query ID is empty"),
            Parameter("text", string),
            Parameter("show_alert", boolean),
        ),
    ),
    "sendChatAction": Method(
        misc_methods.send_chat_action,
        (
            _CHAT,
            Parameter("action", string, required=True, missing="wrong parameter action in request"),
            _THREAD,
        ),
    ),
    "setMyCommands": Method(
        misc_methods.set_my_commands,
        (Parameter("commands", json_array, required=True), Parameter("scope", json_object), _LANGUAGE),
    ),
    "setMyDescription": Method(
        misc_methods.set_my_description, (Parameter("description", string), _LANGUAGE)
    ),
    "setMyShortDescription": Method(
        misc_methods.set_my_short_description, (Parameter("short_description", string), _LANGUAGE)
    ),
    "setMessageReaction": Method(
        misc_methods.set_message_reaction,
        (_CHAT, _MESSAGE, Parameter("reaction", json_array), Parameter("is_big", boolean)),
    ),
    "getChat": Method(misc_methods.get_chat, (_CHAT,)),
    "getChatMember": Method(
        misc_methods.get_chat_member, (_CHAT, Parameter("user_id", integer, required=True))
    ),
}
