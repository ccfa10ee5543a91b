"""`/language`: the language in which a user is written to."""

from dataclasses import dataclass

from telegram import InlineKeyboardMarkup, Update

from bot.access import is_for_asker
from bot.context import Context
from bot.replies import answer_tap, edit, reply, tapped_words
from stemdrop.chat.callback_data import Screen
from stemdrop.chat.screen_buttons import button
from stemdrop.chat.translations import Language, Translations
from stemdrop.storage.users import Users

# Stands for the language of the user's Telegram app, in place of a language's code.
_AS_TELEGRAM = "-"


@dataclass(frozen=True)
class Languages:
    """The handlers for `/language` and its buttons, which obey only the user who asked for them."""

    users: Users
    translations: Translations

    async def ask(self, update: Update, context: Context) -> None:
        if message := update.effective_message:
            keyboard = self._keyboard(context.person.id, context.person.language, context.translate)
            await reply(message, context.translate("language.choose"), keyboard)

    async def tap(self, update: Update, context: Context) -> None:
        query = update.callback_query
        if query is None or not await is_for_asker(update, context):
            return
        match tapped_words(query):
            case (_, code) if code == _AS_TELEGRAM or code in self.translations.languages:
                chosen = "" if code == _AS_TELEGRAM else code
                await self.users.set_language(query.from_user.id, chosen)
                translate = self.translations.language(chosen or query.from_user.language_code)
                await answer_tap(query, None)
                text = translate("language.done", name=translate("language.name"))
                await edit(query, text, self._keyboard(query.from_user.id, chosen, translate))
            case _:
                await answer_tap(query, context.translate("tap.stale_screen"))

    def _keyboard(self, asker: int, chosen: str, translate: Language) -> InlineKeyboardMarkup:
        names = {code: own("language.name") for code, own in self.translations.languages.items()}
        names[_AS_TELEGRAM] = translate("language.telegram")
        marked = chosen or _AS_TELEGRAM
        return InlineKeyboardMarkup.from_column(
            [
                button(f"✓ {name}" if code == marked else name, Screen.LANGUAGE, asker, code)
                for code, name in names.items()
            ]
        )
