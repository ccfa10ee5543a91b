"""A short answer to something a person sent: as a reply, in its topic, even where they deleted it since."""

from telegram import Message, ReplyParameters


async def answer(message: Message, text: str) -> None:
    """Reply to `message` with plain text. Raises `TelegramError`."""
    original = ReplyParameters(message.message_id, allow_sending_without_reply=True)
    await message.reply_text(text, reply_parameters=original)
