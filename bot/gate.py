"""The gate, which every update passes first: who writes, in which language, and whether they may.

Strangers of a private bot get no further.
"""

import logging
from dataclasses import replace

from telegram import Update
from telegram.constants import ChatType
from telegram.ext import ApplicationHandlerStop

from bot.answers import answer, answer_tap
from bot.context import Context
from stemdrop.chat.callback_data import Screen, ScreenTap
from stemdrop.chat.translations import Translations
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)

# What strangers may do: bring an invitation, and ask about their data.
_OPEN_COMMANDS = ("/privacy", "/delete", "/language")
_OPEN_SCREENS = (Screen.LANGUAGE, Screen.DELETE)
_STRANGER_AGAIN_S = 3600


class Gate:
    """The handler of every update, before all others."""

    def __init__(self, users: Users, translations: Translations) -> None:
        self._users = users
        self._translations = translations

    async def check(self, update: Update, context: Context) -> None:
        """Fill in the context. Raises `ApplicationHandlerStop` for strangers, told once in a while."""
        user, chat = update.effective_user, update.effective_chat
        if user is None and chat is None:
            raise ApplicationHandlerStop
        user_id = user.id if user else 0
        person = await self._users.person(user_id, chat.id if chat else 0)
        context.person = replace(person, name=user.full_name if user else "")
        language = (user.language_code if user else None) or ""
        context.say = self._translations.language(person.language or language)
        if person.is_admin and person.telegram_language != language:
            await self._users.set_telegram_language(user_id, language)
        if person.is_allowed or _is_open_to_all(update):
            return
        await self._turn_away(update, context)
        raise ApplicationHandlerStop

    async def _turn_away(self, update: Update, context: Context) -> None:
        text = context.say("access.closed", id=context.person.id)
        if query := update.callback_query:
            await answer_tap(query, text, is_alert=True)
            return
        message = update.effective_message
        if message is None or message.chat.type != ChatType.PRIVATE:
            return
        if await self._users.once_in_a_while(f"stranger:{context.person.id}", _STRANGER_AGAIN_S):
            log.info("user %d is a stranger and was told so", context.person.id)
            await answer(message, text)


def _is_open_to_all(update: Update) -> bool:
    message = update.message
    if update.callback_query:
        choice = ScreenTap.from_data(update.callback_query.data or "")
        return choice is not None and choice.screen in _OPEN_SCREENS
    if message and (message.migrate_to_chat_id or message.migrate_from_chat_id):
        return True  # said by whoever upgraded the group, to Telegram and not to the bot
    if message is None or not message.text or message.chat.type != ChatType.PRIVATE:
        return False
    command, _, word = message.text.partition(" ")
    command = command.partition("@")[0]
    return command in _OPEN_COMMANDS or (command == "/start" and bool(word.strip()))
