"""Users, admins and their choices; one-time words work once."""

import asyncio
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from stemdrop.settings import load_settings
from stemdrop.storage.keys import COUNTED, COUNTED_LIFETIME_S, INVITATION, INVITATION_LIFETIME_S, USER
from stemdrop.storage.users import Person, Users

ALICE, BOB, GROUP, NEW_GROUP = 101, 102, -1_000_001, -1_001_000_000_002


@pytest.fixture
def users(redis: Redis) -> Users:
    return with_settings(redis)


def with_settings(redis: Redis, **settings: str) -> Users:
    required = {"TELEGRAM_BOT_TOKEN": "1:a", "SEPARATION_API_KEY": "key", "SECRET_KEY": "secret"}
    return Users(redis, load_settings(required | settings))


async def is_allowed(users: Users, user_id: int, chat_id: int = 0) -> bool:
    return (await users.person(user_id, chat_id)).is_allowed


# Who may


async def test_a_stranger_is_not_allowed(users: Users) -> None:
    assert await users.person(ALICE, ALICE) == Person(ALICE)


async def test_everyone_is_allowed_in_an_open_bot(redis: Redis) -> None:
    person = await with_settings(redis, ACCESS="open").person(ALICE)
    assert (person.is_allowed, person.is_admin) == (True, False)


async def test_the_settings_allow_users_and_chats(redis: Redis) -> None:
    users = with_settings(redis, ADMINS=str(ALICE), ALLOWED_USERS=f"{BOB},{GROUP}")
    assert (await users.person(ALICE)).is_admin
    assert await is_allowed(users, ALICE)
    assert await is_allowed(users, BOB)
    assert not (await users.person(BOB)).is_admin
    assert await is_allowed(users, 103, GROUP)
    assert not await is_allowed(users, 103, GROUP - 1)
    assert await users.admins() == {ALICE}


async def test_admins_let_users_in_and_out(users: Users) -> None:
    assert not await users.is_let_in(ALICE)
    for _ in range(2):
        await users.add(ALICE)
        assert await is_allowed(users, ALICE)
        assert await users.is_let_in(ALICE)
    for _ in range(2):
        await users.remove(ALICE)
        assert not await is_allowed(users, ALICE)
        assert not await users.is_let_in(ALICE)


async def test_a_group_that_was_let_in_stays_so_as_a_supergroup(users: Users) -> None:
    await users.add(GROUP)
    assert await is_allowed(users, ALICE, GROUP)
    assert not await is_allowed(users, ALICE)
    for _ in range(2):
        await users.migrate(GROUP, NEW_GROUP)
    assert await is_allowed(users, ALICE, NEW_GROUP)
    assert not await is_allowed(users, ALICE, GROUP)


async def test_a_group_keeps_its_credits_a_day_as_a_supergroup(users: Users, redis: Redis) -> None:
    await users.set_daily_credits(GROUP, 30)
    await users.set_name(GROUP, "Band")
    for _ in range(2):
        await users.migrate(GROUP, NEW_GROUP)
    assert await users.limit(NEW_GROUP) == 30
    assert (await users.person(NEW_GROUP)).name == "Band"
    assert await redis.hgetall(USER.format(GROUP)) == {}


async def test_an_admin_by_link_can_be_removed_while_there_is_another(users: Users, redis: Redis) -> None:
    await users.become_admin(ALICE, await users.first_admin_word())
    assert await users.is_let_in(ALICE)
    await users.remove(ALICE)
    assert await users.admins() == {ALICE}
    with_boss = with_settings(redis, ADMINS=str(BOB))
    for user in (BOB, ALICE, ALICE):
        await with_boss.remove(user)
    assert await with_boss.admins() == {BOB}


async def test_a_group_that_was_not_let_in_is_not_by_migrating(users: Users) -> None:
    await users.migrate(GROUP, NEW_GROUP)
    assert not await is_allowed(users, ALICE, NEW_GROUP)


async def test_users_that_were_let_in_are_listed_by_id(users: Users) -> None:
    for number in (BOB, GROUP, ALICE):
        await users.add(number)
    await users.set_name(ALICE, "Alice 🎵")
    assert [(person.id, person.name) for person in await users.allowed()] == [
        (GROUP, ""),
        (ALICE, "Alice 🎵"),
        (BOB, ""),
    ]


# The first admin


async def test_the_first_user_of_the_link_is_the_admin(users: Users) -> None:
    word = await users.first_admin_word()
    assert len(word) >= 16
    assert await users.first_admin_word() == word  # a second process prints the same link
    assert not await users.become_admin(BOB, word + "x")
    assert not await users.become_admin(BOB, "")
    assert await users.become_admin(ALICE, word)
    assert not await users.become_admin(BOB, word)
    assert await users.admins() == {ALICE}
    person = await users.person(ALICE)
    assert (person.is_admin, person.is_allowed) == (True, True)
    assert await users.first_admin_word() == ""


async def test_only_one_of_50_users_of_the_link_is_the_admin(users: Users) -> None:
    words = await asyncio.gather(*(users.first_admin_word() for _ in range(10)))
    assert len(set(words)) == 1
    won = await asyncio.gather(*(users.become_admin(number, words[0]) for number in range(1, 51)))
    assert won.count(True) == 1
    assert await users.admins() == {won.index(True) + 1}


@pytest.mark.parametrize("settings", [{"ACCESS": "open"}, {"ADMINS": str(ALICE)}])
async def test_there_is_no_link_when_there_are_admins(redis: Redis, settings: dict[str, str]) -> None:
    word = await with_settings(redis).first_admin_word()
    users = with_settings(redis, **settings)
    assert not await users.become_admin(BOB, "")
    assert not await users.become_admin(BOB, word)
    assert await users.first_admin_word() == ""
    assert not await with_settings(redis).become_admin(BOB, word)  # nor later, by an old link


# Invitations


async def test_an_invitation_works_once(users: Users, redis: Redis) -> None:
    word = await users.invite(ALICE)
    assert 0 < await redis.ttl(INVITATION.format(word)) <= INVITATION_LIFETIME_S
    assert not await users.accept_invitation(BOB, word + "x")
    won = await asyncio.gather(*(users.accept_invitation(number, word) for number in range(1, 51)))
    assert won.count(True) == 1
    assert [person.id for person in await users.allowed()] == [won.index(True) + 1]


async def test_invitations_differ(users: Users) -> None:
    assert len({await users.invite(ALICE) for _ in range(20)}) == 20


# What each has


async def test_daily_credits_of_a_user_replace_those_of_the_setting(redis: Redis) -> None:
    users = with_settings(redis, DAILY_CREDITS="100")
    assert await users.limit(ALICE) == 100
    for credits, limit in ((30, 30), (0, 0), (None, 100), (None, 100)):
        await users.set_daily_credits(ALICE, credits)
        assert (await users.person(ALICE)).daily_credits == credits
        assert await users.limit(ALICE) == limit
    assert await users.limit(BOB) == 100


async def test_a_name_is_plain_and_never_long(users: Users) -> None:
    await users.set_name(ALICE, "<b>{x}</b>" + "🎵" * 500)
    name = (await users.person(ALICE)).name
    assert name.startswith("<b>{x}</b>🎵")
    assert len(name) == 80


async def test_deleting_a_user_keeps_the_admins_settings(users: Users, redis: Redis) -> None:
    await users.add(ALICE)
    await users.set_daily_credits(ALICE, 30)
    await users.set_name(ALICE, "Alice")
    await users.set_language(ALICE, "pt_BR")
    assert (await users.person(ALICE)).language == "pt_BR"
    for _ in range(2):
        await users.forget(ALICE)
    assert await users.person(ALICE) == Person(ALICE, daily_credits=30, is_allowed=True)
    assert await redis.hgetall(USER.format(ALICE)) == {"daily_credits": "30"}


# Once in a while


async def test_a_message_is_allowed_once_in_a_while(users: Users, redis: Redis) -> None:
    async def may_say(what: str) -> bool:
        async with users.once_in_a_while(what, 3600) as is_due:
            return is_due

    said = await asyncio.gather(*(may_say("alert") for _ in range(20)))
    assert said.count(True) == 1
    assert await may_say("other")
    left = [await redis.ttl(key) async for key in redis.scan_iter("stemdrop:throttle:*")]
    assert len(left) == 2
    assert all(3000 < ttl <= 3600 for ttl in left)
    await users.may_say_again("alert")
    assert await may_say("alert")


async def test_a_message_that_could_not_be_sent_is_allowed_at_once(users: Users) -> None:
    for _ in range(2):
        with suppress(LookupError):
            async with users.once_in_a_while("alert", 3600) as is_due:
                assert is_due
                async with users.once_in_a_while("alert", 3600) as is_due_beside:
                    assert not is_due_beside
                raise LookupError


@pytest.mark.parametrize("is_failing", [True, False])
async def test_a_slow_message_does_not_change_the_time_of_the_next_one(
    users: Users, redis: Redis, is_failing: bool
) -> None:
    with suppress(LookupError):
        async with users.once_in_a_while("alert", 3600):
            await users.may_say_again("alert")  # as when its time is over
            async with users.once_in_a_while("alert", 200) as is_due:
                assert is_due
            if is_failing:
                raise LookupError
    (key,) = await redis.keys("stemdrop:throttle:*")
    assert 0 < await redis.ttl(key) <= 200


async def test_a_repeated_tap_gets_the_first_numbers(users: Users, redis: Redis) -> None:
    assert await users.counted("tap-1", (3, 1)) == (3, 1)
    assert await users.counted("tap-1", (0, 0)) == (3, 1)
    assert await users.counted("tap-2", (0, 0)) == (0, 0)
    assert 0 < await redis.ttl(COUNTED.format("tap-1")) <= COUNTED_LIFETIME_S
