"""Short answers to what a person sent or tapped."""

import logging

import anyio
from telegram import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message, ReplyParameters
from telegram.error import BadRequest, NetworkError

from stemdrop.chat.callback_data import Screen, ScreenTap
from stemdrop.chat.job_message import is_message_gone

log = logging.getLogger(__name__)

# Whoever handles a tap does not come back to answer it: what it meant is done.
_PAUSES_S = (0.2, 1.0)


async def answer(message: Message, text: str, keyboard: InlineKeyboardMarkup | None = None) -> Message:
    """Reply to `message` with plain text, in its topic, even where it was deleted since.

    Returns the reply. Raises `TelegramError`.
    """
    original = ReplyParameters(message.message_id, allow_sending_without_reply=True)
    return await message.reply_text(text, reply_parameters=original, reply_markup=keyboard)


async def answer_tap(query: CallbackQuery, text: str | None, *, is_alert: bool = False) -> None:
    """Answer a tap, or its button would spin; at most 200 characters.

    Raises `TelegramError` when that cannot be done in a moment.
    """
    for pause_s in (*_PAUSES_S, None):
        try:
            await query.answer(text, show_alert=is_alert or None)
        except BadRequest as error:  # too old, after a restart: what the tap meant was still done
            log.debug("a tap was answered too late: %s", error)
        except NetworkError:
            if pause_s is None:
                raise
            await anyio.sleep(pause_s)
            continue
        return


async def rewrite(query: CallbackQuery, text: str, keyboard: InlineKeyboardMarkup | None = None) -> None:
    """Let the message that was tapped say this from now on; one that was deleted stays gone.

    Twice is once. Raises `TelegramError`.
    """
    message = query.message
    if message is None:
        return
    try:
        await query.get_bot().edit_message_text(
            text, chat_id=message.chat.id, message_id=message.message_id, reply_markup=keyboard
        )
    except BadRequest as error:
        if not is_message_gone(error) and "not modified" not in str(error).lower():
            raise


def button(text: str, screen: Screen, *words: object) -> InlineKeyboardButton:
    """A button of a screen."""
    return InlineKeyboardButton(text, callback_data=ScreenTap(screen, tuple(map(str, words))).to_data())


def number_of(word: str) -> int | None:
    """The whole number that a person typed or a button carries, if it is one that Telegram could mean."""
    digits = word.removeprefix("-")
    return int(word) if digits.isascii() and digits.isdigit() and len(digits) <= 15 else None
