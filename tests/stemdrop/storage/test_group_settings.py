"""What a group has settled, also after it became a supergroup."""

import pytest
from redis.asyncio import Redis

from stemdrop.storage.group_settings import Groups
from stemdrop.storage.keys import CHAT

OLD, NEW = -1_000_001, -1_001_000_000_002


@pytest.fixture
def groups(redis: Redis) -> Groups:
    return Groups(redis)


async def test_songs_are_answered_when_asked_for_until_switched(groups: Groups) -> None:
    assert not await groups.answers_all(OLD)
    for wanted in (True, False, True):
        await groups.set_answers_all(OLD, wanted)
        assert await groups.answers_all(OLD) is wanted
    assert not await groups.answers_all(NEW)


async def test_settings_move_with_the_group_and_twice_is_once(groups: Groups, redis: Redis) -> None:
    await groups.set_answers_all(OLD, True)
    await groups.migrate(OLD, NEW)
    assert await groups.answers_all(NEW)
    assert not await redis.exists(CHAT.format(OLD))
    await groups.set_answers_all(NEW, False)
    await groups.migrate(OLD, NEW)
    assert not await groups.answers_all(NEW)


async def test_a_group_without_settings_moves_too(groups: Groups, redis: Redis) -> None:
    await groups.migrate(OLD, NEW)
    assert not await redis.exists(CHAT.format(OLD), CHAT.format(NEW))
