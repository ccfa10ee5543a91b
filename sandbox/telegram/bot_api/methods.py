"""The Bot API's methods as the sandbox knows them: one table, each parameter with name, type and whether it
must be.

From core.telegram.org/bots/api. A method or parameter that is not here is refused by name.
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
from sandbox.telegram.core import Core

Handler = Callable[[Core, Call], Awaitable[Any]]


@dataclass(frozen=True)
class Method:
    """What is called, and with which parameters."""

    handler: Handler
    parameters: tuple[Parameter, ...] = ()


_CHAT = Parameter("chat_id", chat_reference, required=True, missing="chat_id is empty")
_MESSAGE = Parameter("message_id", integer, required=True, missing="message identifier is not specified")
_TEXT = Parameter("text", string, required=True, missing="message text is empty")
_MARKUP = Parameter("reply_markup", json_object)
_LANGUAGE = Parameter("language_code", string)
_SCOPE = Parameter("scope", json_object)
_DROP_PENDING = Parameter("drop_pending_updates", boolean)
_ALLOWED = Parameter("allowed_updates", json_array)
_THREAD = Parameter("message_thread_id", integer)

_TEXT_OPTIONS = (
    Parameter("parse_mode", string),
    Parameter("entities", json_array),
    Parameter("link_preview_options", json_object),
)
_CAPTION = (
    Parameter("caption", string),
    Parameter("parse_mode", string),
    Parameter("caption_entities", json_array),
)
_SENDING = (
    _THREAD,
    Parameter("reply_parameters", json_object),
    Parameter("disable_notification", boolean),
    Parameter("protect_content", boolean),
)


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
            Parameter("ip_address", string),
            _ALLOWED,
            _DROP_PENDING,
        ),
    ),
    "deleteWebhook": Method(update_methods.delete_webhook, (_DROP_PENDING,)),
    "getWebhookInfo": Method(update_methods.get_webhook_info),
    "sendMessage": Method(message_methods.send_message, (_CHAT, _TEXT, *_TEXT_OPTIONS, *_SENDING, _MARKUP)),
    "editMessageText": Method(
        message_methods.edit_message_text, (_CHAT, _MESSAGE, _TEXT, *_TEXT_OPTIONS, _MARKUP)
    ),
    "editMessageReplyMarkup": Method(message_methods.edit_message_reply_markup, (_CHAT, _MESSAGE, _MARKUP)),
    "deleteMessage": Method(message_methods.delete_message, (_CHAT, _MESSAGE)),
    "sendAudio": Method(
        media_methods.send_audio,
        (
            _CHAT,
            _file("audio"),
            Parameter("duration", integer),
            Parameter("performer", string),
            Parameter("title", string),
            Parameter("thumbnail", input_file),
            *_CAPTION,
            *_SENDING,
            _MARKUP,
        ),
    ),
    "sendVoice": Method(
        media_methods.send_voice,
        (_CHAT, _file("voice"), Parameter("duration", integer), *_CAPTION, *_SENDING, _MARKUP),
    ),
    "sendDocument": Method(
        media_methods.send_document,
        (
            _CHAT,
            _file("document"),
            Parameter("thumbnail", input_file),
            Parameter("disable_content_type_detection", boolean),
            *_CAPTION,
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
            Parameter("url", string),
            Parameter("cache_time", integer),
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
        (Parameter("commands", json_array, required=True), _SCOPE, _LANGUAGE),
    ),
    "getMyCommands": Method(misc_methods.get_my_commands, (_SCOPE, _LANGUAGE)),
    "deleteMyCommands": Method(misc_methods.delete_my_commands, (_SCOPE, _LANGUAGE)),
    "setMyDescription": Method(
        misc_methods.set_my_description, (Parameter("description", string), _LANGUAGE)
    ),
    "setMyShortDescription": Method(
        misc_methods.set_my_short_description, (Parameter("short_description", string), _LANGUAGE)
    ),
    "getChat": Method(misc_methods.get_chat, (_CHAT,)),
    "getChatMember": Method(
        misc_methods.get_chat_member, (_CHAT, Parameter("user_id", integer, required=True))
    ),
    "setMessageReaction": Method(
        misc_methods.set_message_reaction,
        (_CHAT, _MESSAGE, Parameter("reaction", json_array), Parameter("is_big", boolean)),
    ),
    "leaveChat": Method(misc_methods.leave_chat, (_CHAT,)),
}
