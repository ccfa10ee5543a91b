"""`ChatActivity`: in which chats a progress update would be in the way."""

from stemdrop.storage.connection import RedisStore
from stemdrop.storage.keys import PROGRESS, PROGRESS_LIFETIME_S, RECEIVING, RECEIVING_LIFETIME_S


class ChatActivity(RedisStore):
    async def receives_stems(self, chat_id: int) -> bool:
        """Whether a delivery to the chat has begun in the last five minutes and has not ended."""
        since = self._clock() - RECEIVING_LIFETIME_S
        return bool(await self._redis.zcount(RECEIVING.format(chat_id), since, "+inf"))

    async def note_progress(self, chat_id: int) -> None:
        """Note that a progress update was sent to the group."""
        await self._redis.set(PROGRESS.format(chat_id), self._clock(), ex=PROGRESS_LIFETIME_S)

    async def progress_left_s(self, chat_id: int) -> float:
        """Return the seconds until the group may get its next progress update; 0: now."""
        sent_at = await self._redis.get(PROGRESS.format(chat_id))
        return max(0.0, float(sent_at) + PROGRESS_LIFETIME_S - self._clock()) if sent_at else 0.0
