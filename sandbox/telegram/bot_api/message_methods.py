"""The bot's messages of text: send, edit, delete."""

from typing import Any

from sandbox.telegram.bot_api.destination import destination, inline_keyboard, writable_chat
from sandbox.telegram.bot_api.parameters import Call, refuse_unknown_keys
from sandbox.telegram.chats import Message
from sandbox.telegram.core import Core
from sandbox.telegram.entities import CAPTION_LIMIT, TEXT_LIMIT, format_text, utf16_length
from sandbox.telegram.errors import NOT_MODIFIED, bad_request

_LINK_PREVIEW_KEYS = {"is_disabled", "url", "prefer_small_media", "prefer_large_media", "show_above_text"}
_DELETABLE_FOR_S = 48 * 3600  # core.telegram.org/bots/api#deletemessage


async def send_message(telegram: Core, call: Call) -> dict[str, Any]:
    place = destination(telegram, call)
    content = _text_content(call)
    markup = inline_keyboard(call.get("reply_markup"))
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


async def edit_message_text(telegram: Core, call: Call) -> dict[str, Any]:
    message = _message_to_edit(telegram, call)
    content = _text_content(call)
    if "text" not in message.content:
        raise bad_request("there is no text in the message to edit")
    return _edited(telegram, message, content, inline_keyboard(call.get("reply_markup")))


async def edit_message_reply_markup(telegram: Core, call: Call) -> dict[str, Any]:
    message = _message_to_edit(telegram, call)
    return _edited(telegram, message, message.content, inline_keyboard(call.get("reply_markup")))


async def delete_message(telegram: Core, call: Call) -> bool:
    chat = writable_chat(telegram, call)
    message = telegram.find(chat, call.arguments["message_id"])
    if message is None:
        raise bad_request("message to delete not found")
    if telegram.clock() - message.date > _DELETABLE_FOR_S:
        raise bad_request("message can't be deleted for everyone")
    if chat.type != "private" and not message.is_from_bot:
        raise bad_request("message can't be deleted")  # the bot is no administrator
    telegram.delete(message)
    return True


def caption_content(fields: dict[str, Any]) -> dict[str, Any]:
    """`caption` and `caption_entities` of a message, from the parameters of the same names and parse_mode."""
    caption = format_text(
        fields.get("caption") or "", fields.get("parse_mode"), fields.get("caption_entities")
    )
    if utf16_length(caption.text) > CAPTION_LIMIT:
        raise bad_request("message caption is too long")
    content: dict[str, Any] = {"caption": caption.text} if caption.text else {}
    if caption.entities:
        content["caption_entities"] = caption.entities
    return content


def _text_content(call: Call) -> dict[str, Any]:
    refuse_unknown_keys(call.get("link_preview_options") or {}, _LINK_PREVIEW_KEYS, "link_preview_options")
    formatted = format_text(call.arguments["text"], call.get("parse_mode"), call.get("entities"))
    if not formatted.text:
        raise bad_request("text must be non-empty")
    if utf16_length(formatted.text) > TEXT_LIMIT:
        raise bad_request("message is too long")
    content: dict[str, Any] = {"text": formatted.text}
    if formatted.entities:
        content["entities"] = formatted.entities
    return content


def _message_to_edit(telegram: Core, call: Call) -> Message:
    message = telegram.find(writable_chat(telegram, call), call.arguments["message_id"])
    if message is None:
        raise bad_request("message to edit not found")
    if not message.is_from_bot:
        raise bad_request("message can't be edited")
    return message


def _edited(
    telegram: Core, message: Message, content: dict[str, Any], markup: dict[str, Any] | None
) -> dict[str, Any]:
    if (content, markup) == (message.content, message.reply_markup):
        raise bad_request(NOT_MODIFIED)
    telegram.flood.take(message.chat.id)
    telegram.edit(message, content, markup)
    return message.to_dict()
