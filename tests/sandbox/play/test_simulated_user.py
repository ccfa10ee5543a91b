"""The simulated user, with a bot that shows the list of instruments on two pages."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import telegram as ptb

from sandbox.play.simulated_user import NotDeliveredError, SimulatedUser
from sandbox.telegram.person_actions import Telegram

_MENU = ("Vocals", "All stems", "One instrument…", "Cancel")
_PAGES = {"more": ("Drums · free", "Strings", "‹", "Back", "Cancel"), "list": ("Bass", "›", "Back", "Cancel")}
_DATA = {"One instrument…": "list", "›": "more", "‹": "list"}


def keyboard(labels: tuple[str, ...]) -> ptb.InlineKeyboardMarkup:
    buttons = [ptb.InlineKeyboardButton(label, callback_data=_DATA.get(label, label)) for label in labels]
    return ptb.InlineKeyboardMarkup.from_column(buttons)


async def answer(bot: ptb.Bot, stem: Path) -> None:
    """Show the menu and its lists; send a stem that is named after the last button."""
    offset = 0
    while True:
        for update in await bot.get_updates(offset=offset, timeout=20):
            offset = update.update_id + 1
            query = update.callback_query
            if query is None:
                assert update.message
                await bot.send_message(update.message.chat_id, "How?", reply_markup=keyboard(_MENU))
                continue
            assert query.message
            assert query.data
            chat_id, message_id = query.message.chat.id, query.message.message_id
            if query.data in _PAGES:
                shown = keyboard(_PAGES[query.data])
                await bot.edit_message_text("Which?", chat_id, message_id, reply_markup=shown)
            else:
                await bot.send_audio(chat_id, stem, title=query.data)
                await bot.edit_message_text("✅ It is here.", chat_id, message_id)


@pytest.mark.parametrize("name", ["drums", "Drum Kit", "Dru"])
async def test_an_instrument_is_found_on_the_second_page(
    name: str, url: str, tg: Telegram, bot: ptb.Bot, make_audio: Callable[..., Path], tmp_path: Path
) -> None:
    song = make_audio("song.mp3")
    answering = asyncio.create_task(answer(bot, song))
    try:
        async with SimulatedUser(url, tg.access_key, lambda text: None) as user:
            (stem,) = await user.play(song, "split_stem_advanced", tmp_path / "out", instrument=name)
            assert stem.title == "Drums · free"
            with pytest.raises(
                NotDeliveredError, match="no instrument Kazoo, only Bass, Drums · free, Strings"
            ):
                await user.play(song, "split_stem_advanced", tmp_path / "out", instrument="Kazoo")
    finally:
        answering.cancel()
