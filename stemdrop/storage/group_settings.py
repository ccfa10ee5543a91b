"""`GroupSettings`: how the bot behaves in each group."""

from typing import Any, cast

from stemdrop.storage.connection import RedisStore
from stemdrop.storage.keys import CHAT

_ANSWERS_ALL = "answers_all"


class GroupSettings(RedisStore):
    async def answers_all(self, chat_id: int) -> bool:
        """Whether the bot answers every song in the group, and not only songs that a member asks about."""
        return await self._redis.hget(CHAT.format(chat_id), _ANSWERS_ALL) == "1"

    async def set_answers_all(self, chat_id: int, wanted: bool) -> None:
        await self._redis.hset(CHAT.format(chat_id), _ANSWERS_ALL, "1" if wanted else "0")

    async def migrate(self, old_chat_id: int, new_chat_id: int) -> None:
        """Move the settings of a group that became a supergroup. Idempotent."""
        if stored := await self._redis.hgetall(CHAT.format(old_chat_id)):
            await self._redis.hset(CHAT.format(new_chat_id), mapping=cast(Any, stored))
            await self._redis.delete(CHAT.format(old_chat_id))
