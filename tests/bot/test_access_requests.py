"""Strangers of a private bot: the admins are asked, the first tap decides, and the stranger is told."""

from contextlib import suppress
from pathlib import Path

import pytest
from product import BotRoom
from redis_search import find_keys

from bot import access_requests as access_desk
from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from stemdrop.chat.translations import load_translations
from stemdrop.errors import TryLater
from stemdrop.storage import access_requests
from stemdrop.storage.keys import ADMINS, DAY_S, REFUSAL_LIFETIME_S
from stemdrop.tasks.engine import Queue, Task

ENGLISH, CHINESE = load_translations().languages["en"], load_translations().languages["zh_Hans"]


def told(room: BotRoom, user: User) -> list[str]:
    return [message.text for message in room.telegram.bot_messages(user.id)]


async def asked(room: BotRoom, boss: User, stranger: User, words: str = "/start") -> Message:
    """The message that asks the admin after a stranger wrote this."""
    before = len(told(room, boss))
    await room.says(stranger, words)
    (asking,) = room.telegram.bot_messages(boss.id)[before:]
    return asking


async def is_in(room: BotRoom, number: int) -> bool:
    return (await room.product.users.person(number)).is_allowed


@pytest.fixture
async def second(private_room: BotRoom) -> User:
    """Another admin, let in by the link."""
    second = private_room.telegram.add_user("Zoë", language_code="es")
    await private_room.product.redis.sadd(ADMINS, str(second.id))
    await private_room.says(second, "/help")
    return second


async def test_a_stranger_is_let_in_by_a_tap_and_told_in_their_language(
    private_room: BotRoom, boss: User, mei: User
) -> None:
    asking = await asked(private_room, boss, mei)
    assert asking.text == f"🙋 Mei ({mei.id}) wants to use this bot."
    assert told(private_room, mei) == [CHINESE("access.asked", id=mei.id)]
    query = await private_room.presses(asking, "Let in")
    await private_room.again(query)
    assert await is_in(private_room, mei.id)
    assert told(private_room, mei)[1:] == [f"{CHINESE('access.let_in')}\n\n{CHINESE('start')}"]
    assert asking.text == f"✅ Mei ({mei.id}): let in by {boss.id}."
    assert not asking.buttons
    assert [person.name for person in await private_room.product.users.allowed()] == ["Mei"]


async def test_a_song_asks_too_and_one_stranger_asks_once_a_day(
    private_room: BotRoom, boss: User, alice: User, song: Path
) -> None:
    await private_room.sends(alice, song)
    for _ in range(2):
        await private_room.says(alice, "/start")
        await private_room.handle_again()
    assert len(told(private_room, boss)) == 1
    private_room.product.clock.advance(DAY_S + 1)
    await private_room.says(alice, "/start")
    assert len(told(private_room, boss)) == 2


async def test_a_strangers_last_song_gets_its_menu_once_they_are_let_in(
    private_room: BotRoom, boss: User, mei: User, song: Path
) -> None:
    room = private_room
    room.telegram.calls.clear()
    for _ in range(2):
        last = await room.sends(mei, song)
    await room.says(mei, "/start")
    assert "getFile" not in [call.method for call in room.telegram.calls]
    query = await room.presses(room.telegram.bot_messages(boss.id)[0], "Let in")
    await room.again(query)
    answer = room.telegram.bot_messages(mei.id)[-1]
    assert (answer.text.startswith(CHINESE("access.let_in")), answer.reply_to) == (True, last)
    (update,) = await room.product.taken(Queue.UPDATES, Task.UPDATE)
    for _ in range(2):  # the second time as after a crash
        await room.handle_stored(update)
    (menu,) = room.after(answer)
    assert (len(menu.buttons), menu.reply_to) == (4, last)
    (job,) = await room.product.jobs(mei.id)
    assert (job.user_id, job.language) == (mei.id, "zh_Hans")


async def test_an_invitation_answers_the_request_of_its_user(
    private_room: BotRoom, boss: User, alice: User, song: Path
) -> None:
    room = private_room
    sent = await room.sends(alice, song)
    word = await room.product.users.invite(boss.id)
    with suppress(TryLater):
        room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage")
        await room.says(alice, f"/start {word}")
    await room.handle_again()
    await room.handle_again()
    answers = [message for message in room.telegram.bot_messages(alice.id) if message.reply_to is sent]
    assert [ENGLISH("access.let_in") in message.text for message in answers] == [False, True]
    assert len(await room.product.taken(Queue.UPDATES, Task.UPDATE)) == 1
    assert told(room, boss) == [f"✅ Alice ({alice.id}): let in by {boss.id}."]
    assert await room.product.access_requests.waiting(room.product.clock()) == []


@pytest.mark.parametrize("end", ["refused", "deleted", "song deleted", "expired"])
async def test_a_strangers_song_is_not_kept_for_nothing(
    private_room: BotRoom, boss: User, alice: User, song: Path, end: str
) -> None:
    room, redis = private_room, private_room.product.redis
    sent = await room.sends(alice, song)
    request = f"stemdrop:people:request:{alice.id}"
    assert await redis.hget(request, "song") == str(sent.message_id)
    (asking,) = room.telegram.bot_messages(boss.id)
    if end == "refused":
        await room.presses(asking, "No")
    elif end == "deleted":
        (question,) = await room.says(alice, "/delete")
        await room.presses(question, "Delete")
    elif end == "song deleted":
        room.telegram.delete_message(alice.id, sent.message_id)
    else:
        await redis.delete(request)
    if end in ("refused", "deleted"):
        assert await redis.hget(request, "song") is None
    await room.says(boss, f"/users add {alice.id}")
    assert ENGLISH("access.let_in") in told(room, alice)[-1]
    assert await room.product.taken(Queue.UPDATES, Task.UPDATE) == []


async def test_a_refused_stranger_is_told_and_does_not_ask_again(
    private_room: BotRoom, boss: User, alice: User
) -> None:
    await private_room.presses(await asked(private_room, boss, alice), "No")
    assert told(private_room, alice)[-1] == ENGLISH("access.refused")
    redis = private_room.product.redis
    assert await redis.ttl(f"stemdrop:people:request:{alice.id}") > REFUSAL_LIFETIME_S - 60
    private_room.product.clock.advance(3 * DAY_S)
    await redis.delete(f"stemdrop:throttle:stranger:{alice.id}")
    (answer,) = await private_room.says(alice, "/start")
    assert answer.text == ENGLISH("access.closed", id=alice.id)
    assert len(told(private_room, boss)) == 1
    # an admin who thinks better of it lets them in by the command
    await private_room.says(boss, f"/users add {alice.id}")
    assert await is_in(private_room, alice.id)
    assert told(private_room, alice)[-1].startswith(ENGLISH("access.let_in"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("🎸👩‍👩‍👧", "🎸👩‍👩‍👧 ({})"),
        ("עברית \u202eevil", "עברית evil ({})"),
        ("N" * 200, "N" * 80 + " ({})"),
        ("\u2060", "{}"),
        ("@somebody /start", "@\u2060somebody /\u2060start ({})"),
    ],
)
async def test_every_name_is_shown(private_room: BotRoom, boss: User, name: str, shown: str) -> None:
    stranger = private_room.telegram.add_user("Stranger")
    stranger.first_name = name  # longer than Telegram allows now
    asking = await asked(private_room, boss, stranger)
    assert asking.text == f"🙋 {shown.format(stranger.id)} wants to use this bot."


async def test_the_first_admin_decides_and_the_others_see_it(
    private_room: BotRoom, boss: User, second: User, alice: User
) -> None:
    asking = await asked(private_room, boss, alice)
    other = private_room.telegram.bot_messages(second.id)[-1]
    data = other.buttons[1]["callback_data"]
    await private_room.presses(asking, "Let in")
    assert other.text.startswith(f"✅ Alice ({alice.id}): ")
    assert not other.buttons
    await private_room.forges(other, data, second)
    assert await is_in(private_room, alice.id)
    assert len(told(private_room, alice)) == 2


@pytest.fixture
def few_a_day(monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of strangers a day about whom the admins are asked."""
    for module in (access_desk, access_requests):
        monkeypatch.setattr(module, "SHOWN_A_DAY", 3)
    return 3


async def test_a_flood_of_strangers_does_not_flood_the_admins(
    private_room: BotRoom, boss: User, few_a_day: int
) -> None:
    strangers = [private_room.telegram.add_user(f"S{number}") for number in range(few_a_day + 5)]
    for stranger in strangers:
        await private_room.says(stranger, "/start")
    assert len(told(private_room, boss)) == few_a_day + 1
    assert told(private_room, boss)[-1] == ENGLISH("request.too_many", count=few_a_day)
    assert all(len(told(private_room, stranger)) == 1 for stranger in strangers)
    # the others wait in the admins' list
    (users,) = await private_room.says(boss, "/users")
    await private_room.presses(users, f"Waiting ({len(strangers)})")
    await private_room.presses(users, f"✅ S{len(strangers) - 1} ")
    await private_room.presses(users, f"✖️ S{len(strangers) - 2} ")
    assert [await is_in(private_room, stranger.id) for stranger in strangers[-2:]] == [False, True]
    await private_room.presses(users, "Back")
    assert f"Waiting ({len(strangers) - 2})" in users.buttons[0]["text"]


async def test_each_day_of_too_many_strangers_is_told_once(
    private_room: BotRoom, boss: User, few_a_day: int
) -> None:
    too_many = ENGLISH("request.too_many", count=few_a_day)
    for days in (1, 2):
        for number in range(few_a_day + 2):
            await private_room.says(private_room.telegram.add_user(f"S{number}"), "/start")
            await private_room.handle_again()
        assert told(private_room, boss).count(too_many) == days
        private_room.product.clock.advance(24 * 3600)


async def test_an_admin_who_cannot_be_reached_is_asked_later(
    private_room: BotRoom, boss: User, second: User, alice: User
) -> None:
    room = private_room
    room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage")
    with suppress(TryLater):
        await room.says(alice, "/start")
    await room.handle_again()
    assert [len([text for text in told(room, admin) if "🙋" in text]) for admin in (boss, second)] == [1, 1]
    room.telegram.block_bot(second.id)
    bob = room.telegram.add_user("Bob")
    await room.says(bob, "/start")
    assert f"Bob ({bob.id})" in told(room, boss)[-1]
    room.telegram.unblock_bot(second.id)
    await room.says(second, "/help")
    assert f"Bob ({bob.id})" in told(room, second)[-2]
    await room.presses(room.telegram.bot_messages(second.id)[-2], "Dar acceso")
    assert await is_in(room, bob.id)


async def test_a_decision_is_finished_after_a_bad_moment(
    private_room: BotRoom, boss: User, alice: User
) -> None:
    asking = await asked(private_room, boss, alice)
    private_room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage")
    data = asking.buttons[0]["callback_data"]
    query = private_room.telegram.tap(boss.id, asking.message_id, data)
    await private_room.handle()
    assert len(told(private_room, alice)) == 1
    for _ in range(2):
        await private_room.handle_again()
    assert query.is_answered
    assert len(told(private_room, alice)) == 2
    assert asking.text.startswith("✅")


async def test_a_group_asks_by_naming_the_bot_and_is_told(
    private_room: BotRoom, boss: User, alice: User
) -> None:
    group = private_room.telegram.add_group("Band", [alice])
    await private_room.says(alice, "hello", chat_id=group.id)
    assert told(private_room, boss) == []
    await private_room.says(alice, "/stems", chat_id=group.id)
    (asking,) = private_room.telegram.bot_messages(boss.id)
    assert asking.text == f"🙋 Band ({group.id}) wants to use this bot."
    assert private_room.telegram.bot_messages(group.id) == []
    await private_room.presses(asking, "Let in")
    (welcome,) = private_room.telegram.bot_messages(group.id)
    assert welcome.text.startswith(ENGLISH("access.let_in"))
    assert "reply to it with /stems@" in welcome.text


async def test_a_removed_user_does_not_ask(private_room: BotRoom, boss: User, alice: User) -> None:
    await private_room.presses(await asked(private_room, boss, alice), "Let in")
    await private_room.says(boss, f"/users remove {alice.id}")
    before = told(private_room, boss)
    await private_room.says(alice, "/start")
    assert told(private_room, boss) == before


async def test_deleting_leaves_no_name_and_no_second_request(
    private_room: BotRoom, boss: User, redis_url: str
) -> None:
    alice = private_room.telegram.add_user("Alicia", username="alicia_b")
    await asked(private_room, boss, alice)
    (question,) = await private_room.says(alice, "/delete")
    await private_room.presses(question, "Delete everything")
    assert await find_keys(redis_url, "Alicia", "alicia_b") == []
    await private_room.says(alice, "/start")
    assert len(told(private_room, boss)) == 1
