"""Who may use the bot, who runs it, what each has chosen; and that one-time words work one time."""

import asyncio

import pytest
from redis.asyncio import Redis

from stemdrop.settings import load_settings
from stemdrop.storage.keys import COUNTED, COUNTED_LIFETIME_S, INVITATION, INVITATION_LIFETIME_S, USER
from stemdrop.storage.users import People, Person

ALICE, BOB, GROUP, NEW_GROUP = 101, 102, -1_000_001, -1_001_000_000_002


@pytest.fixture
def people(redis: Redis) -> People:
    return with_settings(redis)


def with_settings(redis: Redis, **settings: str) -> People:
    required = {"TELEGRAM_BOT_TOKEN": "1:a", "SEPARATION_API_KEY": "key", "SECRET_KEY": "secret"}
    return People(redis, load_settings(required | settings))


async def is_allowed(people: People, user_id: int, chat_id: int = 0) -> bool:
    return (await people.person(user_id, chat_id)).is_allowed


# Who may


async def test_a_stranger_may_not(people: People) -> None:
    assert await people.person(ALICE, ALICE) == Person(ALICE)


async def test_in_an_open_bot_everybody_may(redis: Redis) -> None:
    person = await with_settings(redis, ACCESS="open").person(ALICE)
    assert (person.is_allowed, person.is_admin) == (True, False)


async def test_by_the_settings(redis: Redis) -> None:
    people = with_settings(redis, ADMINS=str(ALICE), ALLOWED_USERS=f"{BOB},{GROUP}")
    assert (await people.person(ALICE)).is_admin
    assert await is_allowed(people, ALICE)
    assert await is_allowed(people, BOB)
    assert not (await people.person(BOB)).is_admin
    assert await is_allowed(people, 103, GROUP)
    assert not await is_allowed(people, 103, GROUP - 1)
    assert await people.admins() == {ALICE}


async def test_an_admins_word_lets_somebody_in_and_out(people: People) -> None:
    assert not await people.is_let_in(ALICE)
    for _ in range(2):
        await people.add(ALICE)
        assert await is_allowed(people, ALICE)
        assert await people.is_let_in(ALICE)
    for _ in range(2):
        await people.remove(ALICE)
        assert not await is_allowed(people, ALICE)
        assert not await people.is_let_in(ALICE)


async def test_a_group_is_let_in_as_a_whole_and_stays_so_as_a_supergroup(people: People) -> None:
    await people.add(GROUP)
    assert await is_allowed(people, ALICE, GROUP)
    assert not await is_allowed(people, ALICE)
    for _ in range(2):
        await people.migrate(GROUP, NEW_GROUP)
    assert await is_allowed(people, ALICE, NEW_GROUP)
    assert not await is_allowed(people, ALICE, GROUP)


async def test_a_group_keeps_its_credits_a_day_as_a_supergroup(people: People, redis: Redis) -> None:
    await people.set_daily_credits(GROUP, 30)
    await people.set_name(GROUP, "Band")
    for _ in range(2):
        await people.migrate(GROUP, NEW_GROUP)
    assert await people.limit(NEW_GROUP) == 30
    assert (await people.person(NEW_GROUP)).name == "Band"
    assert await redis.hgetall(USER.format(GROUP)) == {}


async def test_an_admin_by_link_can_be_removed_while_there_is_another(people: People, redis: Redis) -> None:
    await people.become_admin(ALICE, await people.first_admin_word())
    assert await people.is_let_in(ALICE)
    await people.remove(ALICE)
    assert await people.admins() == {ALICE}
    with_boss = with_settings(redis, ADMINS=str(BOB))
    for user in (BOB, ALICE, ALICE):
        await with_boss.remove(user)
    assert await with_boss.admins() == {BOB}


async def test_a_group_that_was_not_let_in_is_not_by_migrating(people: People) -> None:
    await people.migrate(GROUP, NEW_GROUP)
    assert not await is_allowed(people, ALICE, NEW_GROUP)


async def test_those_let_in_are_listed_by_number(people: People) -> None:
    for number in (BOB, GROUP, ALICE):
        await people.add(number)
    await people.set_name(ALICE, "Alice 🎵")
    assert [(person.id, person.name) for person in await people.allowed()] == [
        (GROUP, ""),
        (ALICE, "Alice 🎵"),
        (BOB, ""),
    ]


# The first admin


async def test_the_first_with_the_word_is_the_admin(people: People) -> None:
    word = await people.first_admin_word()
    assert len(word) >= 16
    assert await people.first_admin_word() == word  # a second process prints the same link
    assert not await people.become_admin(BOB, word + "x")
    assert not await people.become_admin(BOB, "")
    assert await people.become_admin(ALICE, word)
    assert not await people.become_admin(BOB, word)
    assert await people.admins() == {ALICE}
    person = await people.person(ALICE)
    assert (person.is_admin, person.is_allowed) == (True, True)
    assert await people.first_admin_word() == ""


async def test_of_50_that_open_the_link_one_is_the_admin(people: People) -> None:
    words = await asyncio.gather(*(people.first_admin_word() for _ in range(10)))
    assert len(set(words)) == 1
    won = await asyncio.gather(*(people.become_admin(number, words[0]) for number in range(1, 51)))
    assert won.count(True) == 1
    assert await people.admins() == {won.index(True) + 1}


@pytest.mark.parametrize("settings", [{"ACCESS": "open"}, {"ADMINS": str(ALICE)}])
async def test_where_none_is_needed_there_is_no_word(redis: Redis, settings: dict[str, str]) -> None:
    word = await with_settings(redis).first_admin_word()
    people = with_settings(redis, **settings)
    assert not await people.become_admin(BOB, "")
    assert not await people.become_admin(BOB, word)
    assert await people.first_admin_word() == ""
    assert not await with_settings(redis).become_admin(BOB, word)  # nor later, by an old link


# Invitations


async def test_an_invitation_lets_one_in_once(people: People, redis: Redis) -> None:
    word = await people.invite(ALICE)
    assert 0 < await redis.ttl(INVITATION.format(word)) <= INVITATION_LIFETIME_S
    assert not await people.accept_invitation(BOB, word + "x")
    won = await asyncio.gather(*(people.accept_invitation(number, word) for number in range(1, 51)))
    assert won.count(True) == 1
    assert [person.id for person in await people.allowed()] == [won.index(True) + 1]


async def test_every_invitation_is_another(people: People) -> None:
    assert len({await people.invite(ALICE) for _ in range(20)}) == 20


# What each has


async def test_credits_a_day(redis: Redis) -> None:
    people = with_settings(redis, DAILY_CREDITS="100")
    assert await people.limit(ALICE) == 100
    for credits, limit in ((30, 30), (0, 0), (None, 100), (None, 100)):
        await people.set_daily_credits(ALICE, credits)
        assert (await people.person(ALICE)).daily_credits == credits
        assert await people.limit(ALICE) == limit
    assert await people.limit(BOB) == 100


async def test_a_name_is_plain_and_never_long(people: People) -> None:
    await people.set_name(ALICE, "<b>{x}</b>" + "🎵" * 500)
    name = (await people.person(ALICE)).name
    assert name.startswith("<b>{x}</b>🎵")
    assert len(name) == 80


async def test_forgetting_keeps_only_what_admins_settled(people: People, redis: Redis) -> None:
    await people.add(ALICE)
    await people.set_daily_credits(ALICE, 30)
    await people.set_name(ALICE, "Alice")
    await people.set_language(ALICE, "pt_BR")
    assert (await people.person(ALICE)).language == "pt_BR"
    for _ in range(2):
        await people.forget(ALICE)
    assert await people.person(ALICE) == Person(ALICE, daily_credits=30, is_allowed=True)
    assert await redis.hgetall(USER.format(ALICE)) == {"daily_credits": "30"}


# Once in a while


async def test_it_is_said_once_in_a_while(people: People, redis: Redis) -> None:
    said = await asyncio.gather(*(people.once_in_a_while("alert", 60) for _ in range(20)))
    assert said.count(True) == 1
    assert await people.once_in_a_while("other", 60)
    assert {0 < await redis.ttl(key) <= 60 async for key in redis.scan_iter("stemdrop:throttle:*")} == {True}
    await people.may_say_again("alert")
    assert await people.once_in_a_while("alert", 60)


async def test_what_was_counted_first_holds_when_a_tap_is_handled_again(people: People, redis: Redis) -> None:
    assert await people.counted("tap-1", (3, 1)) == (3, 1)
    assert await people.counted("tap-1", (0, 0)) == (3, 1)
    assert await people.counted("tap-2", (0, 0)) == (0, 0)
    assert 0 < await redis.ttl(COUNTED.format("tap-1")) <= COUNTED_LIFETIME_S
