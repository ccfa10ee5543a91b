"""`/settings`: the usual mode, whose button is green in the menus, and whether songs are split at once."""

from pathlib import Path

from product import BotRoom

from sandbox.telegram.chats import Message, User
from stemdrop.domain.abilities import Abilities, Ability
from stemdrop.domain.jobs import Mode

VOCALS, STEMS = "Vocals + instrumental", "All stems"
ASK_OR_NOW = ["✓ Ask first", "Split at once"]
MINE = "🎸 My instrument: none"


def green(menu: Message) -> list[str]:
    return [button["text"] for button in menu.buttons if button.get("style") == "success"]


async def test_the_chosen_mode_is_green_in_the_menus(room: BotRoom, alice: User, song: Path) -> None:
    menu = await room.menu(alice, song)
    assert green(menu) == ["🎤 Vocals + instrumental · 10 credits"]
    (shown,) = await room.says(alice, "/settings")
    assert [button["text"] for button in shown.buttons] == [f"✓ {VOCALS}", STEMS, *ASK_OR_NOW, MINE]
    query = await room.presses(shown, STEMS)
    await room.again(query)
    assert [button["text"] for button in shown.buttons] == [VOCALS, f"✓ {STEMS}", *ASK_OR_NOW, MINE]
    assert green(await room.other_menu(alice, song)) == ["🎛 All stems · 50 credits"]


async def test_songs_can_be_split_at_once(room: BotRoom, alice: User) -> None:
    (shown,) = await room.says(alice, "/settings")
    assert "What costs credits starts after 10 sec" in shown.text
    for label, is_on in (("Split at once", True), ("Ask first", False), ("Split at once", True)):
        query = await room.presses(shown, label)
        await room.again(query)
        assert (await room.product.users.person(alice.id)).splits_at_once is is_on
    assert [button["text"] for button in shown.buttons][2:] == ["Ask first", "✓ Split at once", MINE]
    await room.product.abilities.put(Abilities({Mode.SEPARATE_VOCAL: Ability(0)}))
    (shown,) = await room.says(alice, "/settings")
    assert "credits" not in shown.text


async def test_the_kind_of_files_can_be_chosen_where_the_provider_has_several(
    room: BotRoom, alice: User, song: Path
) -> None:
    (shown,) = await room.says(alice, "/settings")
    assert "MP3" not in shown.text
    modes = {Mode.SEPARATE_VOCAL: Ability()}
    await room.product.abilities.put(Abilities(modes, formats=("mp3", "wav", "flac")))
    (shown,) = await room.says(alice, "/settings")
    assert "MP3 is small" in shown.text
    assert [button["text"] for button in shown.buttons][3:] == ["✓ MP3", "FLAC", "WAV", MINE]
    query = await room.presses(shown, "FLAC")
    await room.again(query)
    assert [button["text"] for button in shown.buttons][3:] == ["MP3", "✓ FLAC", "WAV", MINE]
    menu = await room.menu(alice, song)
    await room.taps(menu, 0)
    assert (await room.product.jobs(alice.id))[0].file_format == "flac"
    # the provider has changed: an old button does nothing
    await room.product.abilities.put(Abilities(modes, formats=("mp3", "flac")))
    assert (await room.presses(shown, "WAV")).answer_text
    assert (await room.product.users.person(alice.id)).file_format == "flac"


async def test_the_instrument_that_a_user_plays_can_be_chosen(room: BotRoom, alice: User) -> None:
    (shown,) = await room.says(alice, "/settings")
    settings = shown.text
    await room.presses(shown, MINE)
    listed = [button["text"] for button in shown.buttons]
    assert listed[0] == "Vocals"
    assert listed[-2:] == ["✓ none", "↩️ Back"]
    await room.presses(shown, "Back")
    assert shown.text == settings
    await room.presses(shown, MINE)
    query = await room.presses(shown, "Bass")
    await room.again(query)
    assert shown.buttons[-1]["text"] == "🎸 My instrument: Bass"
    await room.presses(shown, "My instrument")
    assert "✓ Bass" in [button["text"] for button in shown.buttons]
    assert (await room.product.users.person(alice.id)).instrument == "bass"
    await room.presses(shown, "none")
    assert (await room.product.users.person(alice.id)).instrument == ""


async def test_an_unknown_mode_and_another_users_tap_change_nothing(
    room: BotRoom, alice: User, mei: User
) -> None:
    (shown,) = await room.says(alice, "/settings")
    data = shown.buttons[1]["callback_data"]
    for forged in (data[:-1] + "a", data[:-1] + "?", data + ":x", data[:-1] + "i:tuba", "S:"):
        assert (await room.forges(shown, forged, alice)).answer_text
    assert (await room.forges(shown, data, mei)).answer_text
    for user in (alice, mei):
        assert (await room.product.users.person(user.id)).usual is Mode.SEPARATE_VOCAL


async def test_it_is_answered_only_in_private(room: BotRoom, alice: User) -> None:
    group = room.telegram.add_group("Band", [alice])
    (answer,) = await room.says(alice, "/settings", chat_id=group.id)
    assert (answer.text, answer.buttons) == ("Send me that in a private chat, please.", [])


async def test_deletion_forgets_it(room: BotRoom, alice: User) -> None:
    (shown,) = await room.says(alice, "/settings")
    await room.presses(shown, STEMS)
    await room.presses(shown, "Split at once")
    await room.product.users.set_file_format(alice.id, "flac")
    await room.product.users.set_instrument(alice.id, "bass")
    (asked,) = await room.says(alice, "/delete")
    await room.taps(asked, 0)
    person = await room.product.users.person(alice.id)
    assert (person.usual, person.splits_at_once) == (Mode.SEPARATE_VOCAL, False)
    assert (person.file_format, person.instrument) == ("", "")
