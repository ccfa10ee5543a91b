"""Dead letters are listed newest first, each once, and are limited in number and age."""

import json

from builders import Clock
from redis.asyncio import Redis

from stemdrop.storage.dead_letters import DeadLetter, DeadLetters
from stemdrop.storage.keys import GIVEN_UP, GIVEN_UP_LIFETIME_S, GIVEN_UP_MOST


async def test_dead_letters_are_listed_once_newest_first(redis: Redis, clock: Clock) -> None:
    dead_letters = DeadLetters(redis, clock)
    for key in ("update:1", "update:2", "update:1"):
        clock.advance(1)
        await dead_letters.add(key, "a message", f"at {clock.now:.0f}")
    first = DeadLetter("update:1", "a message", f"at {clock.now:.0f}", clock.now)
    assert await dead_letters.all() == [
        first,
        DeadLetter("update:2", "a message", f"at {clock.now - 1:.0f}", clock.now - 1),
    ]
    assert await dead_letters.drop("update:1")
    assert not await dead_letters.drop("update:1")
    assert [letter.key for letter in await dead_letters.all()] == ["update:2"]


async def test_the_oldest_of_too_many_dead_letters_are_deleted(redis: Redis, clock: Clock) -> None:
    dead_letters = DeadLetters(redis, clock)
    for number in range(GIVEN_UP_MOST - 1):
        value = json.dumps({"what": "a message", "why": "", "at": clock.now + number})
        await redis.hset(GIVEN_UP, f"update:{number}", value)  # type: ignore[misc]
    clock.advance(GIVEN_UP_MOST)
    for key in ("update:new", "update:newest"):
        await dead_letters.add(key, "a message", "")
    assert await redis.hlen(GIVEN_UP) == GIVEN_UP_MOST  # type: ignore[misc]
    assert not await redis.hexists(GIVEN_UP, "update:0")  # type: ignore[misc]


async def test_an_old_dead_letter_is_deleted(redis: Redis, clock: Clock) -> None:
    dead_letters = DeadLetters(redis, clock)
    await dead_letters.add("update:1", "a message", "")
    clock.advance(GIVEN_UP_LIFETIME_S - 1)
    assert len(await dead_letters.all()) == 1
    clock.advance(2)
    assert await dead_letters.all() == []
    assert await redis.hlen(GIVEN_UP) == 0  # type: ignore[misc]
    await dead_letters.add("update:2", "a message", "")
    assert 0 < await redis.ttl(GIVEN_UP) <= GIVEN_UP_LIFETIME_S


async def test_fields_of_a_newer_version_are_ignored(redis: Redis, clock: Clock) -> None:
    dead_letters = DeadLetters(redis, clock)
    await redis.hset(GIVEN_UP, "update:1", json.dumps({"at": clock.now, "more": 1}))  # type: ignore[misc]
    assert await dead_letters.all() == [DeadLetter("update:1", "", "", clock.now)]
