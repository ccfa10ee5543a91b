"""Sends messages in a job's topic, as replies to the user's audio, and edits messages of the bot."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from telegram import Bot, InlineKeyboardMarkup, Message, ReplyParameters
from telegram.error import BadRequest, ChatMigrated
from telegram.ext import ExtBot

from stemdrop.domain.jobs import Job

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

_MESSAGE_GONE = ("message to edit not found", "can't be edited", "message_id_invalid")


async def send_in_topic(
    job: Job, send: Callable[[int | None, ReplyParameters | None], Awaitable[_Answer]]
) -> _Answer:
    """Call `send` with the job's topic and reply, or with none where the topic is closed or gone."""
    source = job.source_message_id
    reply = ReplyParameters(source, allow_sending_without_reply=True) if source else None
    try:
        return await send(job.topic_id or None, reply)
    except BadRequest as error:
        if not job.topic_id or not _is_topic_gone(error):
            raise
    return await send(None, None)  # a reply would go to the topic of the message that it answers


async def send_text(
    bot: ExtBot[float],
    job: Job,
    text: str,
    keyboard: InlineKeyboardMarkup | None = None,
    patience_s: float | None = None,
) -> Message:
    """Send a message in the job's topic. Raises `TelegramError` or `TryLater`."""

    async def send(topic_id: int | None, reply: ReplyParameters | None) -> Message:
        return await bot.send_message(
            job.chat_id,
            text,
            message_thread_id=topic_id,
            reply_parameters=reply,
            reply_markup=keyboard,
            rate_limit_args=patience_s,
        )

    return await send_in_topic(job, send)


async def edit_text(
    bot: Bot,
    chat_id: int,
    message_id: int,
    text: str,
    keyboard: InlineKeyboardMarkup | None,
    patience_s: float | None = None,
) -> bool:
    """Edit a message of the bot. Idempotent. False: the message was deleted or can no longer be edited."""
    limits: dict[str, Any] = {} if patience_s is None else {"rate_limit_args": patience_s}
    try:
        await bot.edit_message_text(
            text, chat_id=chat_id, message_id=message_id, reply_markup=keyboard, **limits
        )
    except BadRequest as error:
        words = str(error).lower()
        if any(sign in words for sign in _MESSAGE_GONE):
            return False
        if "not modified" not in words:
            raise
    return True


async def delete_or_shorten(
    bot: Bot, chat_id: int, message_id: int, text: str, patience_s: float | None = None
) -> None:
    """Delete a message of the bot, or shorten it to `text` if it can no longer be deleted. Idempotent."""
    try:
        await bot.delete_message(chat_id, message_id)
    except ChatMigrated:
        pass  # in the new supergroup the id names another message
    except BadRequest as error:
        if "not found" not in str(error).lower():
            log.info("message %d is shortened in place of being deleted: %s", message_id, error)
            await edit_text(bot, chat_id, message_id, text, None, patience_s)


def _is_topic_gone(error: BadRequest) -> bool:
    words = str(error).lower()
    return "thread not found" in words or "topic_closed" in words or "topic_deleted" in words
