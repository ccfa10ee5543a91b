"""Destination checks of send methods: the chat, its topic and the replied message."""

from dataclasses import dataclass
from typing import Any

from sandbox.telegram.bot_api.parameters import Call, refuse_unknown_keys
from sandbox.telegram.chats import PERMISSIONS, Chat, Message
from sandbox.telegram.errors import bad_request, forbidden, migrated
from sandbox.telegram.state import TelegramState

# Libraries send `quote_parse_mode` also without a quote.
_REPLY_KEYS = {"message_id", "chat_id", "allow_sending_without_reply", "quote_parse_mode"}
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
        thread_id = reply_to.thread_id  # a reply goes to the topic of the message
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
