"""Asks the admins about strangers who want to use a private bot, and tells the strangers the decision."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from telegram import Bot, InlineKeyboardMarkup, Message, ReplyParameters, Update
from telegram.constants import ChatType, KeyboardButtonStyle
from telegram.error import BadRequest, NetworkError, TelegramError

from bot.context import Context
from bot.mentions import names_bot
from bot.sources import source_of
from stemdrop.chat.callback_data import Screen
from stemdrop.chat.refusals import is_gone
from stemdrop.chat.rendering import Rendered
from stemdrop.chat.screen_buttons import button
from stemdrop.chat.translations import Language, Translations
from stemdrop.errors import TryLater
from stemdrop.services.admin_alerts import AdminAlerts
from stemdrop.storage.access_requests import SHOWN_A_DAY, AccessRequest, AccessRequests, Asked, Decision
from stemdrop.storage.users import Person, Users
from stemdrop.tasks.engine import Engine, Task

log = logging.getLogger(__name__)

LET_IN, REFUSE = "y", "n"
_MAX_NAME = 80


@dataclass(frozen=True)
class AccessDesk:
    """Passes requests on to the admins, and decisions to the strangers; each is idempotent for its update.

    When a stranger is let in, the last song that the stranger sent is handled. Only the number of its message
    is stored: the bot replies to that message, and Telegram returns the message with the reply.
    """

    users: Users
    requests: AccessRequests
    alerts: AdminAlerts
    translations: Translations
    engine: Engine
    clock: Callable[[], float] = time.time

    async def ask(self, update: Update, context: Context) -> bool:
        """Ask the admins to let in a stranger, or a group in which a message names the bot.

        Return False if the update asks for nothing, there is no admin, or an admin has refused before. Raises
        `TryLater` or `TelegramError` when an admin could not be asked and another try may succeed.
        """
        request = _request(update, context)
        admins = await self.users.admins() if request else set()
        if request is None or not admins:
            return False
        once = str(update.update_id)
        asked = await self.requests.ask(request, once, self.clock())
        if asked is Asked.SHOWN:
            log.info("stranger %d asks to be let in", request.id)
            shown = [self._show(context.bot, request.id, admin_id) for admin_id in admins]
            errors = await asyncio.gather(*shown, return_exceptions=True)
            if error := next((error for error in errors if error), None):
                raise error
        elif asked is Asked.TOO_MANY:
            await self.alerts.too_many_strangers(SHOWN_A_DAY, once)
        return asked is not Asked.REFUSED

    async def show_unseen(self, bot: Bot, admin_id: int) -> None:
        """Show an admin the requests that could not be shown while the admin could not be reached."""
        for stranger_id in await self.requests.unseen(admin_id):
            if (await self.requests.get(stranger_id)).state == "waiting":
                await self._show(bot, stranger_id, admin_id)
            await self.requests.set_seen(stranger_id, admin_id)

    async def close(self, bot: Bot, stranger_id: int, language: str) -> None:
        """Tell the decision to the stranger and to the admins who were asked.

        `language` is used for a stranger who never asked and has chosen no language.
        """
        request = await self.requests.get(stranger_id)
        if not request.is_answered:
            chosen = (await self.users.person(stranger_id)).language
            await self._answer(
                bot, request, self.translations.language(chosen or request.language or language)
            )
            await self.requests.set_answered(stranger_id)
        for admin_id, message_id in request.messages:
            text = await self.decided(request, await self._language(admin_id))
            try:
                await bot.edit_message_text(text, chat_id=admin_id, message_id=message_id)
            except (TelegramError, TryLater) as error:
                log.info("admin %d: the message about %d stays as it is: %s", admin_id, stranger_id, error)

    async def tell_invited(self, bot: Bot, user_id: int) -> bool:
        """Answer the request of a user whom an invitation has let in; False: the user has no open request."""
        request = await self.requests.get(user_id)
        if request.state != Decision.LET_IN or request.is_answered:
            return False
        await self.close(bot, user_id, request.language)
        return True

    async def waiting(self) -> list[int]:
        """Return the ids of the strangers who wait, the latest request first."""
        return await self.requests.waiting(self.clock())

    async def waiting_with_username(self, username: str) -> int:
        """Return the id of the waiting stranger with this @name; 0: there is none."""
        waiting = [await self.requests.get(number) for number in await self.waiting()]
        # as in `Users.with_username`, an empty name names no user
        found = (it.id for it in waiting if username and it.username.lower() == username.lower())
        return next(found, 0)

    async def decided(self, request: AccessRequest, translate: Language) -> str:
        """Return the text that tells admins what was decided about a request, and by which admin."""
        admin = (await self.users.person(request.admin)).called
        is_in = request.state == Decision.LET_IN
        return translate("request.let_in" if is_in else "request.refused", user=called(request), admin=admin)

    async def _answer(self, bot: Bot, request: AccessRequest, translate: Language) -> None:
        if request.state == Decision.LET_IN:
            how = translate("start") if request.id > 0 else translate("group.how", bot=bot.username)
            text = f"{translate('access.let_in')}\n\n{how}"
        elif request.id > 0:
            text = translate("access.refused")
        else:  # a refused group is told nothing, as when it asked
            return
        song = ReplyParameters(request.song, allow_sending_without_reply=True) if request.song else None
        try:
            told = await bot.send_message(request.id, text, reply_parameters=song)
            if told.reply_to_message and request.state == Decision.LET_IN:
                await self._take(request, told.reply_to_message)
        except TelegramError as error:
            if not (is_gone(error) or isinstance(error, BadRequest)):
                raise
            log.info("stranger %d could not be told what was decided: %s", request.id, error)

    async def _take(self, request: AccessRequest, song: Message) -> None:
        """Add a task for the song that a stranger sent before being let in. Idempotent."""
        update = {"update_id": request.song_update, "message": song.to_dict()}
        await self.engine.add(Task.UPDATE, f"let-in:{request.id}:{request.song}", json.dumps(update))

    async def _show(self, bot: Bot, stranger_id: int, admin_id: int) -> None:
        request = await self.requests.get(stranger_id)
        if admin_id in dict(request.messages):
            return
        text, keyboard = rendered(request, await self._language(admin_id))
        try:
            message = await bot.send_message(admin_id, text, reply_markup=keyboard)
        except TelegramError as error:
            if isinstance(error, NetworkError) and not isinstance(error, BadRequest):
                raise
            log.warning(
                "admin %d could not be told that user %d asks to be let in: %s", admin_id, stranger_id, error
            )
            await self.requests.add_unseen(stranger_id, admin_id)
        else:
            await self.requests.set_message(stranger_id, admin_id, message.message_id)

    async def _language(self, admin_id: int) -> Language:
        admin = await self.users.person(admin_id)
        return self.translations.language(admin.language or admin.telegram_language)


def rendered(request: AccessRequest, translate: Language) -> Rendered:
    """Return the message that asks an admin to let a stranger in or to refuse."""
    buttons = [
        button(
            translate("button.let_in"), Screen.REQUESTS, LET_IN, request.id, style=KeyboardButtonStyle.SUCCESS
        ),
        button(
            translate("button.refuse"), Screen.REQUESTS, REFUSE, request.id, style=KeyboardButtonStyle.DANGER
        ),
    ]
    return translate("request.asks", user=called(request)), InlineKeyboardMarkup([buttons])


def called(request: AccessRequest) -> str:
    """Return the stranger's name and id, as admins see them."""
    return Person(request.id, request.name, request.username).called


def _request(update: Update, context: Context) -> AccessRequest | None:
    """Return the request that an update makes: any message in private, in a group one that names the bot."""
    message, user = update.effective_message, update.effective_user
    if message is None:
        return None
    chat, language = message.chat, context.translate.code
    if chat.type == ChatType.PRIVATE:
        name = user.full_name[:_MAX_NAME] if user else ""
        song = message.message_id if source_of(message) else 0
        return AccessRequest(context.person.id, name, (user and user.username) or "", language, song=song)
    if not names_bot(message.text or message.caption or "", context.bot.username):
        return None
    return AccessRequest(chat.id, (chat.title or "")[:_MAX_NAME], chat.username or "", language)
