"""`AdminAlerts`: messages to the admins about what only an operator can fix, at most once a day each."""

import logging

from telegram.error import TelegramError
from telegram.ext import ExtBot

from stemdrop.chat.translations import Translations
from stemdrop.domain.failures import NO_CREDITS
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)

# An alert is repeated after this time, if its reason persists.
REPEAT_AFTER_S = 24 * 3600
# The price of two songs in all stems: below it the admins are alerted.
LOW_CREDITS = 100

_OF_CODE = {
    "401": "alert.key",
    str(NO_CREDITS): "alert.credits_out",
    "unknown_form": "alert.unknown_form",
}


class AdminAlerts:
    """Alerts the admins in their chats; an alert that cannot be sent is in the log."""

    def __init__(self, bot: ExtBot[float], users: Users, translations: Translations) -> None:
        self._bot = bot
        self._users = users
        self._translations = translations

    async def failed(self, code: str) -> None:
        """Alert the admins if only they can correct what made a call or a job fail with this code."""
        if code in _OF_CODE:
            await self._alert(_OF_CODE[code])

    async def credits_left(self, credits: float) -> None:
        """Alert the admins if few credits are left. An answer shows that the key is accepted."""
        await self._clear("alert.key")
        if credits < LOW_CREDITS:
            await self._alert("alert.credits_low", credits=round(credits))
            return
        await self._clear("alert.credits_low", "alert.credits_out")

    async def too_many_strangers(self, count: int) -> None:
        """Tell the admins that more strangers asked to be let in today than they are shown."""
        await self._alert("request.too_many", count=count)

    async def _clear(self, *keys: str) -> None:
        """Let these alerts be sent at once when their reason returns."""
        try:
            for key in keys:
                await self._users.may_say_again(key)
        except StoreUnavailable as error:
            log.info("the end of an alert could not be stored: %s", error)

    async def _alert(self, key: str, **values: object) -> None:
        try:
            if not await self._users.once_in_a_while(key, REPEAT_AFTER_S):
                return
            log.error("%s", self._translations.language(None)(key, **values))
            admins = await self._users.admins()
            reached = [await self._send(admin_id, key, values) for admin_id in admins]
            if admins and not any(reached):
                await self._users.may_say_again(key)
        except StoreUnavailable as error:
            log.warning("the message %s could not be sent to the admins: %s", key, error)

    async def _send(self, admin_id: int, key: str, values: dict[str, object]) -> bool:
        admin = await self._users.person(admin_id)
        translate = self._translations.language(admin.language or admin.telegram_language)
        try:
            await self._bot.send_message(admin_id, translate(key, **values))
        except (TelegramError, TryLater) as error:
            log.warning("the message %s could not be sent to admin %d: %s", key, admin_id, error)
            return False
        return True
