"""`/settings`: the mode that a user picks most, whose button is green in the menus."""

from dataclasses import dataclass

from telegram import InlineKeyboardMarkup, Update

from bot.access import is_for_asker, is_private
from bot.context import Context
from bot.replies import answer_tap, button, edit, reply, tapped_words
from stemdrop.chat.album_rendering import ALBUM_MODES
from stemdrop.chat.callback_data import MODE_LETTERS, MODES_BY_LETTER, Screen
from stemdrop.domain.jobs import Mode
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.users import Users


@dataclass(frozen=True)
class SettingsScreen:
    """The handlers for `/settings` and its buttons, which obey only the user who asked for them."""

    users: Users
    abilities: AbilitiesCache

    async def ask(self, update: Update, context: Context) -> None:
        """Show the modes that can be chosen, and only in private."""
        message, person, say = update.effective_message, context.person, context.say
        if message is None:
            return
        if not is_private(update):
            await reply(message, say("ask_in_private"))
            return
        await reply(message, say("settings.usual"), await self._keyboard(person.id, person.usual, context))

    async def tap(self, update: Update, context: Context) -> None:
        query = update.callback_query
        if query is None or not await is_for_asker(update, context):
            return
        match tapped_words(query):
            case (_, letter) if (mode := MODES_BY_LETTER.get(letter)) in ALBUM_MODES and mode:
                await self.users.set_usual(query.from_user.id, mode)
                await answer_tap(query, None)
                keyboard = await self._keyboard(query.from_user.id, mode, context)
                await edit(query, context.say("settings.usual"), keyboard)
            case _:
                await answer_tap(query, context.say("tap.stale_screen"))

    async def _keyboard(self, asker: int, usual: Mode, context: Context) -> InlineKeyboardMarkup:
        abilities, say = await self.abilities.get(), context.say
        modes = [mode for mode in ALBUM_MODES if abilities.can(mode)]
        return InlineKeyboardMarkup.from_column(
            [
                button(
                    f"✓ {say.mode_name(mode)}" if mode is usual else say.mode_name(mode),
                    *(Screen.SETTINGS, asker, MODE_LETTERS[mode]),
                )
                for mode in modes
            ]
        )
