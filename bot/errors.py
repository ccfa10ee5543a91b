"""Which errors may pass by themselves, and the apology to a user whose update could not be handled."""

from dataclasses import dataclass

import httpx
from telegram import CallbackQuery, Message, Update
from telegram.error import BadRequest, NetworkError
from telegram.ext import ApplicationHandlerStop

from bot.access import is_private
from bot.context import Context
from bot.mentions import names_bot
from bot.replies import reply
from stemdrop.chat.translations import Language, Translations
from stemdrop.errors import StoreClosed, StoreRefused, StoreUnavailable, TryLater
from stemdrop.storage.users import Users


async def remember_error(update: object, context: Context) -> None:
    """Keep a handler's error under the update's number in `bot_data`, for `UpdateHandler`.

    Raises `ApplicationHandlerStop`: after one handler has failed (`AccessCheck`, say), no other may run.
    """
    if isinstance(update, Update):
        context.bot_data[update.update_id] = context.error
    raise ApplicationHandlerStop


def is_temporary(error: Exception) -> bool:
    """Return whether another try may succeed in a moment."""
    # The library derives BadRequest from NetworkError, but Telegram answered it, and would do so again.
    if isinstance(error, NetworkError):
        return not isinstance(error, BadRequest)
    if isinstance(error, StoreRefused):
        return isinstance(error, StoreClosed)
    return isinstance(error, StoreUnavailable | TryLater | httpx.TransportError)


@dataclass(frozen=True)
class Apology:
    """Tells the sender of an update that it could not be handled."""

    users: Users
    translations: Translations

    async def send(self, update: Update) -> bool:
        """Send the apology; False: the update asked nothing. Raises `TelegramError` or a `StemdropError`."""
        query, message = update.callback_query, update.effective_message
        if query:
            translate = await self._language(update)
            if not await _answer_query(query, translate) and isinstance(query.message, Message):
                await reply(query.message, translate("trouble"))
            return True
        if message and (is_private(update) or _is_for_bot(message)):  # other messages of groups are talk
            await reply(message, (await self._language(update))("trouble"))
            return True
        return False

    async def _language(self, update: Update) -> Language:
        user = update.effective_user
        try:
            chosen = (await self.users.person(user.id)).language if user else ""
        except StoreUnavailable:
            chosen = ""
        return self.translations.language(chosen or (user.language_code if user else None))


async def _answer_query(query: CallbackQuery, translate: Language) -> bool:
    """Answer a tap; False if it was answered before or is too old by now."""
    try:
        return await query.answer(translate("trouble"))
    except BadRequest:
        return False


def _is_for_bot(message: Message) -> bool:
    words = message.text or message.caption or ""
    return words.startswith("/") or names_bot(words, message.get_bot().username)
