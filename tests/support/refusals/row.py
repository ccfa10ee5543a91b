"""What the Bot API refuses, case by case: the call, and the answer that the local Telegram must give.

A word with a dollar in a parameter stands for something that the test makes, such as the id of a group that
removed the bot (`refusals.world`). Each row names the source of the official answer. Sources:

SERVER   the official Bot API server (github.com/tdlib/telegram-bot-api, Client.cpp)
TDLIB    the library under it (github.com/tdlib/td: MessageContent, MessageEntity, MessagesManager,
         ReplyMarkup, FileManager, HttpReader)
SEEN     answers of api.telegram.org (tests of github.com/atahanyorganci/effect-telegram-api)
LIST     answers of api.telegram.org (github.com/TelegramBotAPI/errors)
DOCS     the limit is documented (core.telegram.org/bots/api); the words are not known from a source
STRICTER the Bot API ignores or accepts it; here it is refused, because it is an error of the bot
LIMITED  the Bot API accepts it; the local Telegram does not support it and says so
"""

from dataclasses import dataclass, field
from typing import Any

SERVER, TDLIB, SEEN, LIST = "SERVER", "TDLIB", "SEEN", "LIST"
DOCS, STRICTER, LIMITED = "DOCS", "STRICTER", "LIMITED"
NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message"
)
TOO_OLD = "query is too old and response timeout expired or query ID is invalid"


@dataclass(frozen=True)
class Refusal:
    """One row of the table; `description` lacks the prefix of its status."""

    method: str
    parameters: dict[str, Any]
    description: str
    source: str
    status: int = 400
    answer: dict[str, Any] = field(default_factory=dict)  # the `parameters` of the answer

    def __str__(self) -> str:
        return f"{self.method}: {self.description[:60]}"


def text(description: str, source: str, **changes: Any) -> Refusal:
    """Return the row of a message to Alice that is valid but for `changes`; None leaves a parameter out."""
    good = {"chat_id": "$alice", "text": "hello", **changes}
    return Refusal("sendMessage", {k: v for k, v in good.items() if v is not None}, description, source)


def button(description: str, source: str, **fields: Any) -> Refusal:
    """Return the row of a message with one button."""
    return text(description, source, reply_markup={"inline_keyboard": [[fields]]})


def formatted(description: str, source: str, html: str) -> Refusal:
    return text(f"can't parse entities: {description}", source, text=html, parse_mode="HTML")


def entity(description: str, source: str, **changes: Any) -> Refusal:
    good = {"type": "bold", "offset": 0, "length": 5, **changes}
    return text(description, source, entities=[good])


def album(description: str, source: str, *items: Any) -> Refusal:
    return Refusal("sendMediaGroup", {"chat_id": "$alice", "media": list(items)}, description, source)


def edit(description: str, source: str, **changes: Any) -> Refusal:
    good = {"chat_id": "$alice", "message_id": "$own_text", "text": "changed", **changes}
    return Refusal("editMessageText", good, description, source)


def reaction(description: str, source: str, *given: Any, message_id: Any = "$song") -> Refusal:
    values = {"chat_id": "$alice", "message_id": message_id, "reaction": list(given)}
    return Refusal("setMessageReaction", values, description, source)


A = {"type": "audio", "media": "$audio"}
D = {"type": "document", "media": "$document"}
PARSE_BUTTON = "can't parse inline keyboard button: "
