"""Tells Telegram what to show about the bot in each language: lists of commands and descriptions."""

import logging
from collections.abc import Iterator

from telegram import (
    Bot,
    BotCommand,
    BotCommandScope,
    BotCommandScopeAllGroupChats,
    BotCommandScopeAllPrivateChats,
    BotCommandScopeChat,
)
from telegram.error import BadRequest, Forbidden

from stemdrop.chat.translations import FALLBACK, Language, Translations
from stemdrop.errors import TryLater
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)

PRIVATE_COMMANDS = ("start", "help", "jobs", "settings", "language", "cancel", "privacy", "delete")
GROUP_COMMANDS = ("stems", "help", "jobs", "cancel")
ADMIN_COMMANDS = (*PRIVATE_COMMANDS, "users", "admin", "doctor")
# Telegram's language codes that differ from ours: it takes only two letters, so only one kind of Chinese.
_TELEGRAM_CODES = {"zh_Hans": "zh", "pt_BR": "pt"}
_NOT_LISTED = "zh_Hant"


async def introduce(bot: Bot, translations: Translations, users: Users) -> None:
    """Send these texts to Telegram. Raises `TelegramError`, `TryLater` or `StoreUnavailable`."""
    for code, translate in _languages(translations):
        await bot.set_my_commands(
            _commands(PRIVATE_COMMANDS, translate), BotCommandScopeAllPrivateChats(), code
        )
        await bot.set_my_commands(_commands(GROUP_COMMANDS, translate), BotCommandScopeAllGroupChats(), code)
    for admin_id in await users.admins():
        await introduce_to_admin(bot, translations, admin_id)
    try:
        for code, translate in _languages(translations):
            await bot.set_my_description(translate("bot.description"), code)
            await bot.set_my_short_description(translate("bot.short_description"), code)
    except TryLater as error:  # Telegram limits these changes; the next start tries again
        log.info("the bot's description stays as it is: %s", error)


async def introduce_to_admin(bot: Bot, translations: Translations, admin_id: int) -> None:
    """List the commands for admins in an admin's private chat, if the admin has ever written to the bot."""
    try:
        scope: BotCommandScope = BotCommandScopeChat(admin_id)
        for code, translate in _languages(translations):
            await bot.set_my_commands(_commands(ADMIN_COMMANDS, translate), scope, code)
    except (BadRequest, Forbidden) as error:
        log.info("admin %d has no chat to list commands in: %s", admin_id, error)


def _languages(translations: Translations) -> Iterator[tuple[str | None, Language]]:
    for code, translate in translations.languages.items():
        if code != _NOT_LISTED:
            yield None if code == FALLBACK else _TELEGRAM_CODES.get(code, code), translate


def _commands(names: tuple[str, ...], translate: Language) -> list[BotCommand]:
    return [BotCommand(name, translate(f"command.{name}")) for name in names]
