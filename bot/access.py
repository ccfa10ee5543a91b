"""Access: who may use the bot, what only admins may do, and what is answered only in private."""

import logging
from dataclasses import dataclass, replace

from telegram import Chat, Update
from telegram.constants import ChatMemberStatus, ChatType
from telegram.error import BadRequest
from telegram.ext import ApplicationHandlerStop
from telegram.ext.filters import StatusUpdate

from bot.access_requests import AccessDesk
from bot.context import Context
from bot.replies import answer_tap, reply, tapped_words
from stemdrop.chat.callback_data import Screen, ScreenTap
from stemdrop.chat.translations import Translations
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)

# What strangers may use besides an invitation: the commands and buttons for their data and their language.
_OPEN_COMMANDS = ("/privacy", "/delete", "/language")
_OPEN_SCREENS = (Screen.LANGUAGE, Screen.DELETE)
_STRANGER_AGAIN_S = 3600
_ADMINISTRATORS = frozenset({ChatMemberStatus.OWNER, ChatMemberStatus.ADMINISTRATOR})


def is_private(update: Update) -> bool:
    """Return whether the chat is private, so that only one user reads the answer."""
    return update.effective_chat is not None and update.effective_chat.type == ChatType.PRIVATE


async def is_for_admin(update: Update, context: Context) -> bool:
    """Return whether an admin asks in private; all others are refused.

    In a group the command of a user who is no admin gets no answer, since all members would read it.
    """
    message, query = update.effective_message, update.callback_query
    if context.person.is_admin and is_private(update):
        return True
    if query:
        await answer_tap(query, context.translate("admin.only"))
    elif message and context.person.is_admin:
        await reply(message, context.translate("ask_in_private"))
    elif message and is_private(update):
        await reply(message, context.translate("admin.only"))
    return False


async def is_for_asker(update: Update, context: Context) -> bool:
    """Return whether the tapper is the user who asked for the screen; otherwise the tap is answered.

    The first word of the button is the id of that user.
    """
    query = update.callback_query
    if query is None:
        return False
    words = tapped_words(query)
    if words and words[0] == str(query.from_user.id):
        return True
    await answer_tap(query, context.translate("tap.not_asked" if len(words) > 1 else "tap.stale_screen"))
    return False


async def is_administrator(chat: Chat, user_id: int) -> bool:
    """Whether the user is an administrator of the group or channel."""
    try:
        member = await chat.get_member(user_id)
    except BadRequest as error:  # a user who has left the group
        log.debug("chat %d: member %d: %s", chat.id, user_id, error)
        return False
    return member.status in _ADMINISTRATORS


@dataclass(frozen=True)
class AccessCheck:
    """Runs before all other handlers, and stops the updates of strangers in a private bot."""

    users: Users
    desk: AccessDesk
    translations: Translations

    async def check(self, update: Update, context: Context) -> None:
        """Fill in the context's person and language. Raises `ApplicationHandlerStop` for strangers.

        A stranger who writes in private is told so at most once an hour. The admins are asked at most once a
        day to let the stranger in.
        """
        user, chat = update.effective_user, update.effective_chat
        if user is None and chat is None:
            raise ApplicationHandlerStop
        user_id = user.id if user else 0
        person = await self.users.person(user_id, chat.id if chat else 0)
        context.person = replace(person, name=user.full_name if user else "")
        language = (user.language_code if user else None) or ""
        context.translate = self.translations.language(person.language or language)
        if person.is_admin and person.telegram_language != language:
            await self.users.set_telegram_language(user_id, language)
        if user and person.name and person.username != (user.username or ""):
            await self.users.set_name(user_id, person.name, user.username or "")
        if person.is_admin and is_private(update):
            await self.desk.show_unseen(context.bot, user_id)
        if person.is_allowed or _is_open_to_all(update):
            return
        await self._refuse(update, context)
        raise ApplicationHandlerStop

    async def _refuse(self, update: Update, context: Context) -> None:
        translate, number = context.translate, context.person.id
        if query := update.callback_query:
            await answer_tap(query, translate("access.closed", id=number), is_alert=True)
            return
        message = update.effective_message
        if message is None or (message.edit_date and is_private(update)):
            return
        is_asked = await self.desk.ask(update, context)
        if not is_private(update):
            return
        async with self.users.once_in_a_while(f"stranger:{number}", _STRANGER_AGAIN_S) as is_due:
            if is_due:
                log.info("user %d is a stranger and is told so", number)
                await reply(message, translate("access.asked" if is_asked else "access.closed", id=number))


def _is_open_to_all(update: Update) -> bool:
    message = update.message
    if update.callback_query:
        tap = ScreenTap.from_data(update.callback_query.data or "")
        return tap is not None and tap.screen in _OPEN_SCREENS
    if update.my_chat_member or (message and StatusUpdate.ALL.check_update(update)):
        return True  # Telegram reports a change of the chat: no user asks for anything
    if message is None or not message.text or message.chat.type != ChatType.PRIVATE:
        return False
    command, _, word = message.text.partition(" ")
    command = command.partition("@")[0]
    return command in _OPEN_COMMANDS or (command == "/start" and bool(word.strip()))
