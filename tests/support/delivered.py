"""What a delivery has left in a chat."""

from collections.abc import Sequence
from typing import Any

from product import Product

from sandbox.telegram.chats import Message
from stemdrop.domain.jobs import Job

TWELVE = (
    *("vocals", "backing_vocals", "drums", "bass", "guitar", "keyboard"),
    *("percussion", "strings", "synth", "fx", "brass", "woodwinds"),
)


def stems(product: Product, chat_id: int) -> list[Message]:
    """Return the bot's files in the chat."""
    return [found for found in product.telegram.bot_messages(chat_id) if found.kind != "text"]


def shown(product: Product, job: Job) -> Message:
    """Return the job's own message, the only text in the chat."""
    (message,) = [found for found in product.telegram.bot_messages(job.chat_id) if found.kind == "text"]
    return message


def field(messages: Sequence[Message], name: str) -> list[Any]:
    """Return this field of each file."""
    return [(message.media or {}).get(name) for message in messages]
