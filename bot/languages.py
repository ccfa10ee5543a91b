"""`/language`: in which language somebody is written to."""

from telegram import InlineKeyboardMarkup, Update

from bot.answers import answer, answer_tap, button, rewrite
from bot.context import Context
from stemdrop.chat.callback_data import Screen, ScreenTap
from stemdrop.chat.translations import Language, Translations
from stemdrop.storage.users import Users

# Instead of a language's code: as Telegram says.
_AS_TELEGRAM = "-"


class Languages:
    """The handlers for `/language` and its buttons, which obey only who asked for them."""

    def __init__(self, users: Users, translations: Translations) -> None:
        self._users = users
        self._translations = translations

    async def ask(self, update: Update, context: Context) -> None:
        """Show all languages, each by its own name."""
        if message := update.effective_message:
            keyboard = self._keyboard(context.person.id, context.person.language, context.say)
            await answer(message, context.say("language.choose"), keyboard)

    async def tap(self, update: Update, context: Context) -> None:
        """Keep the choice and say so in the new language."""
        query = update.callback_query
        choice = ScreenTap.from_data(query.data or "") if query else None
        if query is None:
            return
        match choice:
            case ScreenTap(words=(asker, _)) if asker != str(query.from_user.id):
                await answer_tap(query, context.say("tap.not_asked"))
            case ScreenTap(words=(_, code)) if code == _AS_TELEGRAM or code in self._translations.languages:
                cached = "" if code == _AS_TELEGRAM else code
                await self._users.set_language(query.from_user.id, cached)
                say = self._translations.language(cached or query.from_user.language_code)
                await answer_tap(query, None)
                text = say("language.done", name=say("language.name"))
                await rewrite(query, text, self._keyboard(query.from_user.id, cached, say))
            case _:
                await answer_tap(query, context.say("tap.stale_screen"))

    def _keyboard(self, asker: int, chosen: str, say: Language) -> InlineKeyboardMarkup:
        names = {code: own("language.name") for code, own in self._translations.languages.items()}
        names[_AS_TELEGRAM] = say("language.telegram")
        marked = chosen or _AS_TELEGRAM
        return InlineKeyboardMarkup.from_column(
            [
                button(f"✓ {name}" if code == marked else name, Screen.LANGUAGE, asker, code)
                for code, name in names.items()
            ]
        )
