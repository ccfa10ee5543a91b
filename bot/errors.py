"""The last handler: what no other handled becomes one line for the operator and one sentence for the user;
what may pass by itself is kept, under the update's number in `bot_data`, for who handles updates again."""

import logging

import httpx
from telegram import Update
from telegram.error import BadRequest, NetworkError, TelegramError
from telegram.ext import CallbackContext

from bot.answers import answer
from stemdrop.errors import StemdropError, StoreRefused, StoreUnavailable, TryLater
from stemdrop.telegram import is_gone
from stemdrop.texts import Texts

log = logging.getLogger(__name__)


class Errors:
    """The error handler of the Application."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    async def handle(self, update: object, context: CallbackContext) -> None:  # type: ignore[type-arg]
        """Log it; tell the user if they can be told."""
        error = context.error
        if error is None:
            return
        where = f"update {update.update_id}" if isinstance(update, Update) else "an update"
        if isinstance(error, TelegramError) and is_gone(error):
            log.info("%s: the chat is gone (%s)", where, error)
            return
        if isinstance(update, Update) and _may_pass(error):
            context.bot_data[update.update_id] = error
            return
        log.error("%s failed: %s: %s", where, type(error).__name__, error)
        if not isinstance(error, TelegramError | StemdropError):
            log.debug("%s", where, exc_info=error)
        if isinstance(update, Update):
            await self._tell(update)

    async def _tell(self, update: Update) -> None:
        user, message = update.effective_user, update.effective_message
        say = self._texts.language(user.language_code if user else None)
        try:
            if update.callback_query:
                await update.callback_query.answer(say("trouble"))
            elif message:
                await answer(message, say("trouble"))
        except (TelegramError, StemdropError) as error:
            log.warning("the user could not be told: %s", error)


def _may_pass(error: Exception) -> bool:
    """Whether the same may go well in a moment. To the library a BadRequest is a NetworkError; but then
    Telegram answers, and always the same."""
    if isinstance(error, NetworkError):
        return not isinstance(error, BadRequest)
    if isinstance(error, StoreRefused):
        return False
    return isinstance(error, StoreUnavailable | TryLater | httpx.TransportError)
