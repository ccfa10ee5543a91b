"""`AdminAlerts`: messages to the admins about problems that only an operator can fix, each once a day."""

import logging
from collections.abc import Callable, Mapping

from telegram.error import TelegramError
from telegram.ext import ExtBot

from stemdrop.chat.translations import Language, Translations
from stemdrop.domain.failures import NO_CREDITS
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)

# An alert is repeated after this time, if its reason persists.
REPEAT_AFTER_S = 24 * 3600
# The admins are alerted when a provider has failed for longer than this.
LONG_FAILING_S = 1800

_OF_CODE = {
    "401": "alert.key",
    str(NO_CREDITS): "alert.credits_out",
    "unknown_form": "alert.unknown_form",
}


class AdminAlerts:
    """Alerts the admins in their chats; an alert that cannot be sent is in the log.

    `titles` are those of the providers, by name. With titles each alert names its provider, and the answers
    of one provider do not end the alerts of another.
    """

    def __init__(
        self,
        bot: ExtBot[float],
        users: Users,
        translations: Translations,
        titles: Mapping[str, str] | None = None,
    ) -> None:
        self._bot = bot
        self._users = users
        self._translations = translations
        self._titles = titles or {}

    async def failed(self, code: str, provider: str = "") -> None:
        """Alert the admins if only they can correct what made a call or a job fail with this code."""
        if code in _OF_CODE:
            await self._alert(_OF_CODE[code], provider)

    async def credits_left(self, credits: float, provider: str, few: float, unit: str) -> None:
        """Alert the admins if fewer than `few` credits are left, and end the alert of a refused key."""
        await self._clear(provider, "alert.key")
        if credits < few:
            await self._alert(
                "alert.credits_low", provider, lambda translate: {"credits": translate.balance(credits, unit)}
            )
            return
        await self._clear(provider, "alert.credits_low", "alert.credits_out")

    async def failing(self, provider: str, for_s: float) -> None:
        """Alert the admins if a provider has failed for long (`for_s` 0: it works) while others are asked."""
        if len(self._titles) > 1 and for_s > LONG_FAILING_S:
            await self._alert("alert_at.failing", provider)
        elif not for_s:
            await self._clear(provider, "alert_at.failing")

    async def too_many_strangers(self, count: int, asked_by: str) -> None:
        """Tell the admins that more strangers asked to be let in today than they are shown.

        `asked_by` is the update of the first who is not shown: each day has another one.
        """
        await self._alert("request.too_many", values=lambda _: {"count": count}, of=asked_by)

    async def _clear(self, provider: str, *keys: str) -> None:
        """Let these alerts be sent at once when their reason returns."""
        try:
            for key in keys:
                await self._users.may_say_again(self._once(key, provider))
        except StoreUnavailable as error:
            log.info("the end of an alert could not be stored: %s", error)

    async def _alert(
        self,
        key: str,
        provider: str = "",
        values: Callable[[Language], dict[str, object]] = lambda _: {},
        of: str = "",
    ) -> None:
        once, title = self._once(key, provider), self._titles.get(provider, "")
        once = f"{once}:{of}" if of else once
        if title:
            key = f"alert_at.{key.rpartition('.')[2]}"

        def say(translate: Language) -> str:
            return translate(key, provider=title, **values(translate))

        try:
            async with self._users.once_in_a_while(once, REPEAT_AFTER_S) as is_due:
                if is_due:
                    log.error("%s", say(self._translations.language(None)))
                    admins = await self._users.admins()
                    reached = [await self._send(admin_id, key, say) for admin_id in admins]
                    if admins and not any(reached):
                        raise TryLater(0, "no admin can be reached")  # noqa: TRY301 - allows it again
        except (StoreUnavailable, TryLater) as error:
            log.warning("the message %s could not be sent to the admins: %s", key, error)

    def _once(self, key: str, provider: str) -> str:
        return f"{key}:{provider}" if provider in self._titles else key

    async def _send(self, admin_id: int, key: str, say: Callable[[Language], str]) -> bool:
        admin = await self._users.person(admin_id)
        translate = self._translations.language(admin.language or admin.telegram_language)
        try:
            await self._bot.send_message(admin_id, say(translate))
        except (TelegramError, TryLater) as error:
            log.warning("the message %s could not be sent to admin %d: %s", key, admin_id, error)
            return False
        return True
