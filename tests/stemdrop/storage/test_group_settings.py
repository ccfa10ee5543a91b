"""A group's settings, also after it became a supergroup."""

import pytest
from redis.asyncio import Redis

from stemdrop.storage.group_settings import GroupSettings
from stemdrop.storage.keys import CHAT

OLD, NEW = -1_000_001, -1_001_000_000_002


@pytest.fixture
def group_settings(redis: Redis) -> GroupSettings:
    return GroupSettings(redis)


async def test_songs_are_answered_when_asked_for_until_switched(group_settings: GroupSettings) -> None:
    assert not await group_settings.answers_all(OLD)
    for wanted in (True, False, True):
        await group_settings.set_answers_all(OLD, wanted)
        assert await group_settings.answers_all(OLD) is wanted
    assert not await group_settings.answers_all(NEW)


async def test_settings_move_with_the_group_idempotently(group_settings: GroupSettings, redis: Redis) -> None:
    await group_settings.set_answers_all(OLD, True)
    await group_settings.migrate(OLD, NEW)
    assert await group_settings.answers_all(NEW)
    assert not await redis.exists(CHAT.format(OLD))
    await group_settings.set_answers_all(NEW, False)
    await group_settings.migrate(OLD, NEW)
    assert not await group_settings.answers_all(NEW)


async def test_a_group_without_settings_moves_too(group_settings: GroupSettings, redis: Redis) -> None:
    await group_settings.migrate(OLD, NEW)
    assert not await redis.exists(CHAT.format(OLD), CHAT.format(NEW))
