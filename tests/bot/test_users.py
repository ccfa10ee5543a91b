"""`/users`: admins let users in, remove them and set their credits; others are refused."""

import re
from pathlib import Path

from product import BotRoom

from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from stemdrop.domain.jobs import JobState
from stemdrop.storage.keys import ADMINS
from stemdrop.storage.users import Person

ONLY = "Only the operator of this bot can do that."


async def users(room: BotRoom, boss: User, words: str = "") -> Message:
    return (await room.says(boss, f"/users {words}"))[-1]


async def person(room: BotRoom, user_id: int) -> Person:
    return await room.product.users.person(user_id)


async def invite(room: BotRoom, boss: User) -> str:
    """The link that the admin is shown."""
    shown = await users(room, boss)
    await room.presses(shown, "Invite")
    found = re.search(r"https://t\.me/stemdrop_sandbox_bot\?start=([\w-]+)", shown.text)
    assert found
    return found[1]


async def test_an_invitation_lets_one_person_in_once(
    private_room: BotRoom, boss: User, alice: User, mei: User
) -> None:
    word = await invite(private_room, boss)
    assert "private" in (await private_room.says(alice, "/help"))[-1].text
    assert "Drop a song" in (await private_room.says(alice, f"/start {word}"))[-1].text
    assert "How it works" in (await private_room.says(alice, "/help"))[-1].text
    (refused,) = await private_room.says(mei, f"/start {word}")
    assert not (await person(private_room, mei.id)).is_allowed
    assert refused.text
    shown = await users(private_room, boss)
    assert f"• Alice ({alice.id}): the default (20 credits a day)" in shown.text


async def test_a_user_with_access_does_not_use_up_an_invitation(
    private_room: BotRoom, boss: User, alice: User
) -> None:
    word = await invite(private_room, boss)
    await private_room.says(boss, f"/start {word}")
    await private_room.says(alice, f"/start {word}")
    assert (await person(private_room, alice.id)).is_allowed


async def test_people_are_added_and_removed_by_number(private_room: BotRoom, boss: User, alice: User) -> None:
    assert (await users(private_room, boss, f"add {alice.id}")).text == (
        f"Alice ({alice.id}) may use this bot now."
    )
    assert (
        await users(private_room, boss, f"add {alice.id}")
    ).text == f"Alice ({alice.id}) was let in before."
    assert "How it works" in (await private_room.says(alice, "/help"))[-1].text
    removed = await users(private_room, boss, f"remove {alice.id}")
    assert removed.text == f"Alice ({alice.id}) may no longer use this bot."
    assert "This bot is private" in (await private_room.says(alice, "/help"))[-1].text
    assert "was not let in from the chat" in (await users(private_room, boss, f"remove {alice.id}")).text


async def test_a_number_that_telegram_does_not_know_is_added_without_a_name(
    private_room: BotRoom, boss: User
) -> None:
    assert (await users(private_room, boss, "add 4711")).text == "4711 may use this bot now."
    assert "• 4711: " in (await users(private_room, boss)).text


async def test_a_group_is_let_in_with_all_its_members(private_room: BotRoom, boss: User, alice: User) -> None:
    group = private_room.telegram.add_group("Band", [alice])
    assert await private_room.says(alice, "/help", chat_id=group.id) == []
    assert (await users(private_room, boss, f"add {group.id}")).text.startswith("Band (")
    (answer,) = await private_room.says(alice, "/help", chat_id=group.id)
    assert "How it works" in answer.text


async def test_credits_are_set_by_buttons(private_room: BotRoom, boss: User, alice: User) -> None:
    await users(private_room, boss, f"add {alice.id}")
    shown = await users(private_room, boss)
    await private_room.presses(shown, "Alice")
    assert shown.text == f"Alice ({alice.id}): how many credits a day?"
    assert "✓ the default (20 credits a day)" in [button["text"] for button in shown.buttons]
    query = await private_room.presses(shown, "100 credits")
    await private_room.again(query)
    assert "✓ 100 credits a day" in [button["text"] for button in shown.buttons]
    assert await private_room.product.users.limit(alice.id) == 100
    await private_room.presses(shown, "no limit")
    assert await private_room.product.users.limit(alice.id) == 0
    await private_room.presses(shown, "the default")
    assert await private_room.product.users.limit(alice.id) == 20
    await private_room.presses(shown, "Back")
    assert "Let in from the chat" in shown.text


async def test_credits_are_set_by_a_command(private_room: BotRoom, boss: User, alice: User) -> None:
    for word, limit in (("200", 200), ("0", 0), ("-", 20), ("1000000", 1_000_000)):
        await private_room.product.users.set_daily_credits(alice.id, 77)
        answer = await users(private_room, boss, f"credits {alice.id} {word}")
        assert str(alice.id) in answer.text
        assert await private_room.product.users.limit(alice.id) == limit, word


async def test_a_wrong_command_is_told_what_is_wrong(private_room: BotRoom, boss: User) -> None:
    for words, mistake in (
        ("add", "Say who: "),
        ("add Alice", "I don't know “Alice”"),
        ("add @nobody", "I don't know “@\u2060nobody”"),
        ("add 0", "I don't know “0”"),
        ("add 1 2", "One word too many: “2”."),
        ("remove", "Say who: "),
        ("remove 1234567890123456", "I don't know “1234567890123456”"),
        ("credits 5", "The credits are a number from 0 to 1,000,000, or -, and not “”."),
        ("credits 5 many", "The credits are a number from 0 to 1,000,000, or -, and not “many”."),
        ("credits 5 -3", "The credits are"),
        ("credits 5 1000001", "The credits are"),
        ("credits 5 ٣", "The credits are"),
        ("credits 5 3 4", "One word too many: “4”."),
        ("drop 5", "There is no “drop”"),
    ):
        answer = await users(private_room, boss, words)
        assert answer.text.startswith(mistake), words
        assert "\n\nYou can also type" in answer.text, words
        assert await private_room.product.users.allowed() == [], words
        assert await private_room.product.users.limit(5) == 20, words


async def test_a_lone_at_sign_names_nobody(private_room: BotRoom, boss: User, alice: User, mei: User) -> None:
    await users(private_room, boss, f"add {alice.id}")
    await private_room.says(mei, "/start")  # she waits to be let in
    for command in ("add @", "remove @", "credits @ 5"):
        assert "I don't know “@”" in (await users(private_room, boss, command)).text, command
    assert [it.id for it in await private_room.product.users.allowed()] == [alice.id]
    assert {await private_room.product.users.limit(it.id) for it in (alice, boss, mei)} == {20}


async def test_a_username_is_enough_for_a_person_who_is_known(private_room: BotRoom, boss: User) -> None:
    alice = private_room.telegram.add_user("Alice", username="alice_b")
    await private_room.says(alice, "/start")
    await users(private_room, boss, "add @Alice_B")
    assert (await person(private_room, alice.id)).is_allowed
    assert f"Alice (@alice_b, {alice.id})" in (await users(private_room, boss)).text
    assert "30 credits" in (await users(private_room, boss, "credits @alice_b 30")).text
    await users(private_room, boss, "remove @alice_b")
    assert not (await person(private_room, alice.id)).is_allowed


async def test_removing_by_button_stops_their_open_buttons(
    private_room: BotRoom, boss: User, alice: User, song: Path
) -> None:
    await users(private_room, boss, f"add {alice.id}")
    menu = await private_room.menu(alice, song)
    data = menu.buttons[0]["callback_data"]
    shown = await users(private_room, boss)
    await private_room.presses(shown, "Alice")
    await private_room.presses(shown, "Remove")
    lines = shown.text.split("\n")
    assert lines[:2] == [
        f"Alice ({alice.id}) may no longer use this bot.",
        "1 song that had not started was cancelled.",
    ]
    assert lines[3].startswith("No one has been let in")
    assert menu.text.startswith("✖️ Cancelled")
    query = await private_room.forges(menu, data, alice)
    assert query.answer_text.startswith("This bot is private.")
    assert await private_room.product.ordered() == []


async def test_a_user_allowed_by_the_settings_cannot_be_removed(private_room: BotRoom, boss: User) -> None:
    assert "may still use this bot" in (await users(private_room, boss, f"remove {boss.id}")).text


async def test_many_users_are_shown_in_pages(private_room: BotRoom, boss: User) -> None:
    for number in range(1, 11):
        await private_room.product.users.add(number)
    shown = await users(private_room, boss)
    assert shown.text.count("•") == 8
    await private_room.presses(shown, "›")
    assert shown.text.count("•") == 2
    await private_room.presses(shown, "10")
    await private_room.presses(shown, "Remove")
    assert shown.text.count("•") == 1


async def test_users_who_are_not_admins_are_refused(room: BotRoom, alice: User) -> None:
    (answer,) = await room.says(alice, "/users")
    assert answer.text == ONLY
    await room.says(alice, f"/users add {alice.id}")
    group = room.telegram.add_group("Band", [alice])
    assert await room.says(alice, "/users", chat_id=group.id) == []
    for data in (f"U:c:{alice.id}:0:500", "U:i", "U:l:0", f"U:x:{alice.id}:0", f"U:u:{alice.id}:0"):
        query = await room.forges(answer, data, alice)
        assert query.answer_text == ONLY
    assert answer.text == ONLY
    assert await room.product.users.allowed() == []


async def test_in_a_group_an_admin_is_asked_to_write_in_private(
    private_room: BotRoom, boss: User, alice: User
) -> None:
    group = private_room.telegram.add_group("Band", [boss, alice])
    for command in ("/users", f"/users add {group.id}"):
        (answer,) = await private_room.says(boss, command, chat_id=group.id)
        assert answer.text.startswith("Send me that in a private chat, please.")
        assert answer.text.endswith(f" /users add {group.id}")
    (answer,) = await private_room.says(boss, "/admin", chat_id=group.id)
    assert answer.text == "Send me that in a private chat, please."
    assert await private_room.product.users.allowed() == []


async def test_an_open_bot_says_so_and_still_has_credits_per_user(room: BotRoom, alice: User) -> None:
    boss = room.telegram.add_user("Boss")
    await room.product.redis.sadd(ADMINS, str(boss.id))
    assert (await users(room, boss)).text.startswith("Everyone may use this bot")
    await users(room, boss, f"credits {alice.id} 30")
    assert await room.product.users.limit(alice.id) == 30
    await users(room, boss, f"add {alice.id}")
    assert "may still use" in (await users(room, boss, f"remove {alice.id}")).text


async def test_removing_a_user_cancels_their_waiting_songs(
    private_room: BotRoom, boss: User, alice: User, song: Path
) -> None:
    product = private_room.product
    group = private_room.telegram.add_group("Band", [alice])
    for number in (alice.id, group.id):
        await product.users.add(number)
    await product.users.set_daily_credits(alice.id, 0)
    menus = [await private_room.other_menu(alice, song) for _ in range(6)]
    for menu in menus[:5]:
        await private_room.taps(menu, 0)
    there = await private_room.other_menu(alice, song, chat_id=group.id, caption="/stems")
    await private_room.taps(there, 0, alice)
    text = (await users(private_room, boss, f"remove {alice.id}")).text
    assert text.split("\n")[1] == "3 songs that had not started were cancelled."
    assert [menu.text.startswith("✖️ Cancelled") for menu in menus] == [False] * 3 + [True] * 3
    assert not there.text.startswith("✖️")  # in the group she may still ask for it
    states = [job.state for job in await product.jobs(alice.id)]
    assert states.count(JobState.SUBMITTING) == 3
    assert states.count(JobState.QUEUED) == 1
    assert (await product.store.allowance(alice.id, 0)).spent == 40
    assert "cancelled" not in (await users(private_room, boss, f"remove {alice.id}")).text
    assert "1 song that" in (await users(private_room, boss, f"remove {group.id}")).text
    assert there.text.startswith("✖️ Cancelled")
    assert (await product.store.allowance(alice.id, 0)).spent == 30


async def test_songs_of_a_user_who_keeps_access_go_on(room: BotRoom, alice: User, song: Path) -> None:
    boss = room.telegram.add_user("Boss")
    await room.product.redis.sadd(ADMINS, str(boss.id))
    menu = await room.menu(alice, song)
    text = (await users(room, boss, f"remove {alice.id}")).text
    assert "may still use this bot" in text
    assert "cancelled" not in text
    assert len(menu.buttons) == 4


async def test_an_admin_removes_another_but_never_the_last(
    private_room: BotRoom, boss: User, alice: User
) -> None:
    await private_room.product.redis.sadd(ADMINS, str(alice.id))
    await private_room.says(alice, "/start")
    answer = await users(private_room, boss, f"remove {alice.id}")
    assert answer.text.split("\n") == [
        f"{alice.id} no longer runs this bot.",
        f"{alice.id} may no longer use this bot.",
    ]
    assert not (await person(private_room, alice.id)).is_allowed
    assert (await private_room.says(alice, "/admin"))[-1].text.startswith("This bot is private.")


async def test_the_only_admin_stays(room: BotRoom) -> None:
    boss = room.telegram.add_user("Boss")
    await room.product.redis.sadd(ADMINS, str(boss.id))
    answer = await users(room, boss, f"remove {boss.id}")
    assert answer.text.startswith(f"{boss.id} is the only admin")
    assert (await person(room, boss.id)).is_admin


async def test_a_change_is_reported_although_the_first_reply_failed(
    private_room: BotRoom, boss: User, alice: User, song: Path
) -> None:
    """The command is handled again, and finds its own work done."""
    room = private_room

    async def told_at_second(words: str) -> str:
        fault = room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage")
        assert await room.says(boss, f"/users {words}") == []
        assert fault.hits == 1
        await room.handle_again()
        return room.telegram.bot_messages(boss.id)[-1].text

    assert await told_at_second(f"add {alice.id}") == f"Alice ({alice.id}) may use this bot now."
    assert await told_at_second(f"add {alice.id}") == f"Alice ({alice.id}) was let in before."
    await room.product.redis.sadd(ADMINS, str(alice.id))
    await room.menu(alice, song)
    assert (await told_at_second(f"remove {alice.id}")).split("\n") == [
        f"Alice ({alice.id}) no longer runs this bot.",
        f"Alice ({alice.id}) may no longer use this bot.",
        "1 song that had not started was cancelled.",
    ]
    assert "was not let in from the chat" in await told_at_second(f"remove {alice.id}")
