"""The buttons by which admins let strangers in or refuse them, and the list of those who wait."""

import logging
from dataclasses import dataclass

from telegram import InlineKeyboardMarkup, Update

from bot.access import is_for_admin
from bot.access_requests import LET_IN, REFUSE, AccessDesk, called
from bot.context import Context
from bot.replies import answer_tap, edit, number_of, tapped_words
from stemdrop.chat.callback_data import Screen
from stemdrop.chat.rendering import Rendered
from stemdrop.chat.screen_buttons import button
from stemdrop.chat.translations import Language
from stemdrop.storage.access_requests import AccessRequests, Decision
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)

LIST = "l"
_SHOWN = 8
_DECISIONS = {LET_IN: Decision.LET_IN, REFUSE: Decision.REFUSED}


@dataclass(frozen=True)
class RequestsScreen:
    """The handler of these buttons; the first admin's tap decides. Idempotent for each tap."""

    users: Users
    requests: AccessRequests
    desk: AccessDesk

    async def tap(self, update: Update, context: Context) -> None:
        query, translate = update.callback_query, context.translate
        if query is None or not await is_for_admin(update, context):
            return
        match tapped_words(query):
            case (word, number, *place) if word in _DECISIONS and (stranger_id := number_of(number)):
                await self._decide(stranger_id, _DECISIONS[word], query.id, context)
                await answer_tap(query, None)
                request = await self.requests.get(stranger_id)
                shown = (
                    await self._list(translate)
                    if place
                    else (await self.desk.decided(request, translate), None)
                )
                await edit(query, *shown)
            case (word,) if word == LIST:
                await answer_tap(query, None)
                await edit(query, *await self._list(translate))
            case _:
                await answer_tap(query, translate("tap.stale_screen"))

    async def _decide(self, stranger_id: int, decision: Decision, once: str, context: Context) -> None:
        admin = context.person.id
        if not await self.requests.decide(stranger_id, decision, once, admin):
            return
        log.info("admin %d decided about stranger %d: %s", admin, stranger_id, decision)
        if decision is Decision.LET_IN:
            request = await self.requests.get(stranger_id)
            await self.users.set_name(stranger_id, request.name, request.username)
        await self.desk.close(context.bot, stranger_id, context.translate.code)

    async def _list(self, translate: Language) -> Rendered:
        waiting = await self.desk.waiting()
        rows = []
        for stranger_id in waiting[:_SHOWN]:
            name = called(await self.requests.get(stranger_id))
            rows.append([button(f"✅ {name}", Screen.REQUESTS, LET_IN, stranger_id, LIST)])
            rows.append([button(f"✖️ {name}", Screen.REQUESTS, REFUSE, stranger_id, LIST)])
        rows.append([button(translate("button.back"), Screen.USERS, LIST, 0)])
        return translate("request.list" if waiting else "request.empty"), InlineKeyboardMarkup(rows)
