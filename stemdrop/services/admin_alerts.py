"""What only the operator can put right is told to the admins in their chats, once in a while."""

import logging

from telegram.error import TelegramError
from telegram.ext import ExtBot

from stemdrop.chat.translations import Translations
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)

# The same trouble is told again after a day, if it still is one.
AGAIN_S = 24 * 3600
# Two songs in all their stems: below this the admins are told that credits run low.
LOW_CREDITS = 100

_OF_CODE = {401: "alert.key", 402: "alert.credits_out"}


class AdminAlerts:
    """Best effort: what cannot be told is in the log."""

    def __init__(self, bot: ExtBot[float], users: Users, translations: Translations) -> None:
        self._bot = bot
        self._users = users
        self._translations = translations

    async def refused(self, code: int) -> None:
        """The separation API refused with this code; tells the admins if it is theirs to correct."""
        if code in _OF_CODE:
            await self._tell(_OF_CODE[code])

    async def credits_left(self, credits: float) -> None:
        """So many credits are left at the provider, which so has accepted the key."""
        await self._is_well("alert.key")
        if credits < LOW_CREDITS:
            await self._tell("alert.credits_low", credits=round(credits))
            return
        await self._is_well("alert.credits_low", "alert.credits_out")

    async def _is_well(self, *keys: str) -> None:
        """When it happens again, it is news."""
        try:
            for key in keys:
                await self._users.may_say_again(key)
        except StoreUnavailable as error:
            log.info("that all is well could not be noted: %s", error)

    async def _tell(self, key: str, **values: object) -> None:
        try:
            if not await self._users.once_in_a_while(key, AGAIN_S):
                return
            log.error("%s", self._translations.language(None)(key, **values))
            admins = await self._users.admins()
            reached = [await self._tell_one(admin_id, key, values) for admin_id in admins]
            if admins and not any(reached):
                await self._users.may_say_again(key)
        except StoreUnavailable as error:
            log.warning("the admins could not be told of %s: %s", key, error)

    async def _tell_one(self, admin_id: int, key: str, values: dict[str, object]) -> bool:
        admin = await self._users.person(admin_id)
        say = self._translations.language(admin.language or admin.telegram_language)
        try:
            await self._bot.send_message(admin_id, say(key, **values))
        except (TelegramError, TryLater) as error:
            log.warning("admin %d could not be told of %s: %s", admin_id, key, error)
            return False
        return True
