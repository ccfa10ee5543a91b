"""Short replies to what a user sent or tapped, and the buttons of screens."""

import logging

import anyio
from telegram import CallbackQuery, InlineKeyboardMarkup, Message, ReplyParameters
from telegram.error import BadRequest, NetworkError

from stemdrop.chat.callback_data import ScreenTap
from stemdrop.chat.replies import edit_text

log = logging.getLogger(__name__)

# The pauses between tries to answer a tap, whose update is not handled again: what it asked for is done.
_PAUSES_S = (0.2, 1.0)


async def reply(message: Message, text: str, keyboard: InlineKeyboardMarkup | None = None) -> Message:
    """Reply with plain text in the message's topic, even to a deleted message. Raises `TelegramError`."""
    original = ReplyParameters(message.message_id, allow_sending_without_reply=True)
    return await message.reply_text(text, reply_parameters=original, reply_markup=keyboard)


async def answer_tap(query: CallbackQuery, text: str | None, *, is_alert: bool = False) -> None:
    """Answer a tap (at most 200 characters). Raises `TelegramError`, for network errors after three tries."""
    for pause_s in (*_PAUSES_S, None):
        try:
            await query.answer(text, show_alert=is_alert or None)
        except BadRequest as error:  # too old, after a restart: what the tap asked for was still done
            log.debug("a tap was answered too late: %s", error)
        except NetworkError:
            if pause_s is None:
                raise
            await anyio.sleep(pause_s)
            continue
        return


async def edit(query: CallbackQuery, text: str, keyboard: InlineKeyboardMarkup | None = None) -> None:
    """Replace the tapped message, unless it was deleted. Idempotent. Raises `TelegramError`."""
    if message := query.message:
        await edit_text(query.get_bot(), message.chat.id, message.message_id, text, keyboard)


def tapped_words(query: CallbackQuery) -> tuple[str, ...]:
    """Return the words that the button of a screen carries after the screen's letter."""
    tap = ScreenTap.from_data(query.data or "")
    return tap.words if tap else ()


def number_of(word: str) -> int | None:
    """Parse an integer that a user typed or a button carries; `None` for other texts and over 15 digits."""
    digits = word.removeprefix("-")
    return int(word) if digits.isascii() and digits.isdigit() and len(digits) <= 15 else None
