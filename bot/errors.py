"""The last handler: what no other handled becomes one line for the operator and one sentence for the user;
what may pass by itself is kept, under the update's number in `bot_data`, for who handles updates again."""

import logging
from dataclasses import dataclass

import httpx
from telegram import CallbackQuery, Message, Update
from telegram.error import BadRequest, NetworkError, TelegramError
from telegram.ext import ApplicationHandlerStop

from bot.admission import is_private
from bot.answers import answer
from bot.context import Context
from bot.groups import names_bot
from stemdrop.chat.telegram_bot import is_gone
from stemdrop.chat.translations import Language, Translations
from stemdrop.errors import StemdropError, StoreClosed, StoreRefused, StoreUnavailable, TryLater
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What may pass by itself, or is still to be told, and the language to say in that it has not passed."""

    error: Exception
    say: Language


class Errors:
    """The error handler of the Application."""

    def __init__(self, users: Users, translations: Translations) -> None:
        self._users = users
        self._translations = translations

    async def handle(self, update: object, context: Context) -> None:
        """Log it; tell the user if they can be told.

        Raises `ApplicationHandlerStop`: where one handler has failed (the gate, say), no other may go on.
        """
        await self._handle(update, context)
        raise ApplicationHandlerStop

    async def _handle(self, update: object, context: Context) -> None:
        error = context.error
        if error is None:
            return
        where = f"update {update.update_id}" if isinstance(update, Update) else "an update"
        if isinstance(error, TelegramError) and is_gone(error):
            log.info("%s: the chat is gone (%s)", where, error)
            return
        if isinstance(update, Update) and may_pass(error):
            say = await language_of(update, self._users, self._translations)
            context.bot_data[update.update_id] = Trouble(error, say)
            return
        log.error("%s failed: %s: %s", where, type(error).__name__, error)
        if not isinstance(error, TelegramError | StemdropError):
            log.debug("%s", where, exc_info=error)
        if not isinstance(update, Update):
            return
        say = await language_of(update, self._users, self._translations)
        try:
            await tell(update, say)
        except (TelegramError, StemdropError) as untold:
            log.warning("%s: its sender cannot be told: %s", where, untold)
            if may_pass(untold):
                context.bot_data[update.update_id] = Trouble(error, say)


async def language_of(update: Update, users: Users, translations: Translations) -> Language:
    """The sender's, where the gate has not found it out."""
    user = update.effective_user
    code = user.language_code if user else None
    try:
        chosen = (await users.person(user.id)).language if user else ""
    except StoreUnavailable:
        chosen = ""
    return translations.language(chosen or code)


async def tell(update: Update, say: Language) -> bool:
    """Say that it went wrong to who wanted something of the bot. False: nobody did.

    Raises `TelegramError`, `TryLater` or `StoreUnavailable` where they cannot be told.
    """
    query, message = update.callback_query, update.effective_message
    if query:
        if not await _tell_tapper(query, say) and isinstance(query.message, Message):
            await answer(query.message, say("trouble"))
        return True
    if message and (is_private(update) or _names_bot(message)):  # else people talk with each other
        await answer(message, say("trouble"))
        return True
    return False


async def _tell_tapper(query: CallbackQuery, say: Language) -> bool:
    """False: the tap was answered before, or is too old by now."""
    try:
        return await query.answer(say("trouble"))
    except BadRequest:
        return False


def _names_bot(message: Message) -> bool:
    words = message.text or message.caption or ""
    return words.startswith("/") or names_bot(words, message.get_bot().username)


def may_pass(error: Exception) -> bool:
    """Whether the same may go well in a moment. To the library a BadRequest is a NetworkError; but then
    Telegram answers, and always the same."""
    if isinstance(error, NetworkError):
        return not isinstance(error, BadRequest)
    if isinstance(error, StoreRefused):
        return isinstance(error, StoreClosed)
    return isinstance(error, StoreUnavailable | TryLater | httpx.TransportError)
