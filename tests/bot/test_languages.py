"""`/language`: a user chooses the language of all later messages."""

from pathlib import Path

from product import BotRoom

from sandbox.telegram.chats import User

CHINESE_START = "把歌发到"


async def test_every_language_is_offered_by_its_own_name(room: BotRoom, alice: User) -> None:
    (shown,) = await room.says(alice, "/language")
    labels = [button["text"] for button in shown.buttons]
    assert {"English", "简体中文", "✓ Same as Telegram"} <= set(labels)
    assert len(labels) == len(room.product.translations.languages) + 1


async def test_the_choice_holds_and_is_answered_in_the_new_language(room: BotRoom, alice: User) -> None:
    (shown,) = await room.says(alice, "/language")
    query = await room.presses(shown, "简体中文")
    await room.again(query)
    assert "简体中文" in shown.text
    assert "✓ 简体中文" in [button["text"] for button in shown.buttons]
    (answer,) = await room.says(alice, "/start")
    assert CHINESE_START in answer.text
    await room.taps(shown, -1)  # as in Telegram
    (answer,) = await room.says(alice, "/start")
    assert "Drop a song here" in answer.text


async def test_a_user_with_a_chinese_telegram_can_choose_english(
    room: BotRoom, mei: User, song: Path
) -> None:
    (shown,) = await room.says(mei, "/language")
    await room.presses(shown, "English")
    assert shown.text == "From now on I'll write in English."
    menu = await room.menu(mei, song)
    assert menu.text == "🎵 “Morning Line”\nHow do you want it split?"


async def test_in_a_group_the_buttons_obey_only_the_asker(room: BotRoom, alice: User, mei: User) -> None:
    group = room.telegram.add_group("Band", [alice, mei])
    (shown,) = await room.says(alice, "/language", chat_id=group.id)
    await room.presses(shown, "简体中文", mei)
    assert (await room.product.users.person(mei.id)).language == ""
    query = await room.presses(shown, "简体中文", alice)
    assert query.user == alice
    assert (await room.product.users.person(alice.id)).language == "zh_Hans"


async def test_an_unknown_language_is_refused(room: BotRoom, alice: User) -> None:
    (shown,) = await room.says(alice, "/language")
    for data in (f"L:{alice.id}:xx", f"L:{alice.id}", "L:", f"L:{alice.id}:en:more"):
        query = await room.forges(shown, data, alice)
        assert query.answer_text == "This button no longer works. Send the command again."
    assert (await room.product.users.person(alice.id)).language == ""
