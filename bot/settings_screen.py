"""`/settings`: a user's usual mode, whether it is used without a tap, the file format, and the instrument."""

from dataclasses import dataclass

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update

from bot.access import is_for_asker, is_private
from bot.context import Context
from bot.replies import answer_tap, edit, reply, tapped_words
from stemdrop.chat.album_rendering import ALBUM_MODES
from stemdrop.chat.callback_data import MODE_LETTERS, MODES_BY_LETTER, Screen, SettingsAction
from stemdrop.chat.rendering import UNDO_S, Rendered
from stemdrop.chat.screen_buttons import button
from stemdrop.chat.translations import Language
from stemdrop.domain.audio_types import FILE_FORMATS
from stemdrop.domain.mixing_desk import INSTRUMENT_KEYS
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.users import Person, Users


@dataclass(frozen=True)
class SettingsScreen:
    """The handlers for `/settings` and its buttons, which obey only the user who asked for them."""

    users: Users
    abilities: AbilitiesCache

    async def ask(self, update: Update, context: Context) -> None:
        """Show what can be chosen, and only in private."""
        message = update.effective_message
        if message is None:
            return
        if is_private(update):
            await reply(message, *await self._render(context.person, context.translate))
        else:
            await reply(message, context.translate("ask_in_private"))

    async def tap(self, update: Update, context: Context) -> None:
        query = update.callback_query
        if query is None or not await is_for_asker(update, context):
            return
        asker = query.from_user.id
        match tapped_words(query):
            case (_, (SettingsAction.ASK | SettingsAction.AT_ONCE) as action):
                await self.users.set_splits_at_once(asker, action == SettingsAction.AT_ONCE)
            case (_, SettingsAction.INSTRUMENT):
                await answer_tap(query, None)
                await edit(query, *_render_instruments(context.person, context.translate))
                return
            case (_, SettingsAction.INSTRUMENT, name) if name in ("", *INSTRUMENT_KEYS):
                await self.users.set_instrument(asker, name)
            case (_, SettingsAction.BACK):
                pass
            case (_, letter) if (mode := MODES_BY_LETTER.get(letter)) and mode in ALBUM_MODES:
                await self.users.set_usual(asker, mode)
            case (_, file_format) if file_format in (await self.abilities.get()).formats:
                await self.users.set_file_format(asker, file_format)
            case _:
                await answer_tap(query, context.translate("tap.stale_screen"))
                return
        await answer_tap(query, None)
        await edit(query, *await self._render(await self.users.person(asker), context.translate))

    async def _render(self, person: Person, translate: Language) -> Rendered:
        abilities = await self.abilities.get()
        lines = [translate("settings.usual"), "", translate("settings.at_once")]
        if not abilities.is_free:
            lines.append(translate("settings.undo", time=translate.duration(UNDO_S)))
        rows = [
            [_choice(person, translate.mode_name(mode), MODE_LETTERS[mode], is_chosen=mode is person.usual)]
            for mode in ALBUM_MODES
            if abilities.can(mode)
        ]
        at_once = person.splits_at_once
        ask = _choice(person, translate("settings.ask"), SettingsAction.ASK, is_chosen=not at_once)
        rows.append(
            [ask, _choice(person, translate("settings.now"), SettingsAction.AT_ONCE, is_chosen=at_once)]
        )
        if len(abilities.formats) > 1:
            lines += ["", translate("settings.files")]
            chosen = abilities.file_format(person.file_format)
            formats = [name for name in FILE_FORMATS if name in abilities.formats]
            rows.append([_choice(person, it.upper(), it, is_chosen=it == chosen) for it in formats])
        lines += ["", translate("settings.instrument")]
        name = translate.instrument(person.instrument) if person.instrument else translate("settings.none")
        mine = translate("settings.my_instrument", name=name)
        rows.append([button(mine, Screen.SETTINGS, person.id, SettingsAction.INSTRUMENT)])
        return "\n".join(lines), InlineKeyboardMarkup(rows)


def _render_instruments(person: Person, translate: Language) -> Rendered:
    named = {name: translate.instrument(name) for name in INSTRUMENT_KEYS} | {"": translate("settings.none")}
    buttons = [
        button(
            f"✓ {label}" if name == person.instrument else label,
            *(Screen.SETTINGS, person.id, SettingsAction.INSTRUMENT, name),
        )
        for name, label in named.items()
    ]
    rows = [buttons[start : start + 2] for start in range(0, len(buttons), 2)]
    rows.append([button(translate("button.back"), Screen.SETTINGS, person.id, SettingsAction.BACK)])
    return translate("settings.instrument"), InlineKeyboardMarkup(rows)


def _choice(person: Person, label: str, word: str, *, is_chosen: bool) -> InlineKeyboardButton:
    return button(f"✓ {label}" if is_chosen else label, Screen.SETTINGS, person.id, word)
