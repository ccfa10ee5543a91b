"""Bot API methods for text messages: to send, edit and delete them."""

from typing import Any

from sandbox.telegram.bot_api.destination import (
    Destination,
    check_right,
    destination,
    writable_chat,
)
from sandbox.telegram.bot_api.formatting import format_text
from sandbox.telegram.bot_api.keyboards import inline_keyboard
from sandbox.telegram.bot_api.parameters import Call, refuse_unknown_keys
from sandbox.telegram.chats import Message
from sandbox.telegram.entities import CAPTION_LIMIT, TEXT_LIMIT, utf16_length
from sandbox.telegram.errors import NOT_MODIFIED, bad_request
from sandbox.telegram.state import TelegramState

_LINK_PREVIEW_KEYS = {"is_disabled", "url", "prefer_small_media", "prefer_large_media", "show_above_text"}
_DELETABLE_S = 48 * 3600


async def send_message(telegram: TelegramState, call: Call) -> dict[str, Any]:
    place = destination(telegram, call)
    return post_content(telegram, call, place, _text_content(call))


async def edit_message_text(telegram: TelegramState, call: Call) -> dict[str, Any]:
    message = _editable(telegram, call)
    content = _text_content(call)
    if "text" not in message.content:
        raise bad_request("there is no text in the message to edit")
    return _edit(telegram, call, message, content)


async def edit_message_reply_markup(telegram: TelegramState, call: Call) -> dict[str, Any]:
    message = _editable(telegram, call)
    return _edit(telegram, call, message, message.content)


async def delete_message(telegram: TelegramState, call: Call) -> bool:
    """Delete a message that is at most 48 hours old; outside private chats it must be the bot's.

    See core.telegram.org/bots/api#deletemessage.
    """
    message = telegram.find_message(writable_chat(telegram, call), call.arguments["message_id"])
    if message is None:
        raise bad_request("message to delete not found")
    if message.chat.type != "private" and not message.is_from_bot:
        raise bad_request("message can't be deleted")
    if telegram.clock() - message.date > _DELETABLE_S:
        raise bad_request("message can't be deleted for everyone")
    telegram.delete(message)
    return True


def post_content(
    telegram: TelegramState, call: Call, place: Destination, content: dict[str, Any]
) -> dict[str, Any]:
    """Post one message of the bot with the call's keyboard; counts against the flood limits."""
    markup = inline_keyboard(call.get("reply_markup"), place.chat)
    call.refuse_unused_uploads()
    telegram.flood.take(place.chat.id)
    return telegram.post(
        place.chat,
        telegram.bot,
        content,
        reply_markup=markup,
        thread_id=place.thread_id,
        reply_to=place.reply_to,
    ).to_dict()


def caption_content(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the caption and its entities as message fields; empty without a caption."""
    content = format_text(fields, "caption")
    if utf16_length(content["caption"]) > CAPTION_LIMIT:
        raise bad_request("message caption is too long")
    return content if content["caption"] else {}


def _editable(telegram: TelegramState, call: Call) -> Message:
    chat = writable_chat(telegram, call)
    check_right(telegram, chat, "can_send_messages")
    message = telegram.find_message(chat, call.arguments["message_id"])
    if message is None:
        raise bad_request("message to edit not found")
    if not message.is_from_bot:
        raise bad_request("message can't be edited")
    return message


def _edit(telegram: TelegramState, call: Call, message: Message, content: dict[str, Any]) -> dict[str, Any]:
    markup = inline_keyboard(call.get("reply_markup"), message.chat)
    if (content, markup) == (message.content, message.reply_markup):
        raise bad_request(NOT_MODIFIED)
    telegram.flood.take(message.chat.id)
    telegram.edit(message, content, markup)
    return message.to_dict()


def _text_content(call: Call) -> dict[str, Any]:
    preview = call.get("link_preview_options") or {}
    refuse_unknown_keys(preview, _LINK_PREVIEW_KEYS, "link_preview_options")
    for name in preview.keys() - {"url"}:
        if not isinstance(preview[name], bool):
            raise bad_request(f'field "{name}" must be of type Boolean')
    content = format_text(call.arguments, "text")
    if not content["text"]:
        raise bad_request("text must be non-empty")
    if utf16_length(content["text"]) > TEXT_LIMIT:
        raise bad_request("message is too long")
    return content
