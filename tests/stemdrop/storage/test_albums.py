"""Albums whose keys are deleted while they are written."""

from typing import Any

from builders import make_job
from redis.asyncio import BlockingConnectionPool, Redis

from stemdrop.storage.albums import Albums
from stemdrop.storage.connection import StoreRedis
from stemdrop.storage.keys import ALBUM

KEY = "1:77"


class _Deleting(StoreRedis):
    """A client after whose first command another process deletes the album."""

    has_deleted = False

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        answer = await super().execute_command(*args, **options)
        if not self.has_deleted:
            self.has_deleted = True
            await super().execute_command("DEL", ALBUM.format(KEY))
        return answer


async def test_an_album_that_is_deleted_during_a_write_stays_deleted(redis_url: str, redis: Redis) -> None:
    await Albums(redis).join(KEY, make_job(), "song:1:1")
    pool = BlockingConnectionPool.from_url(redis_url, decode_responses=True)
    async with _Deleting(connection_pool=pool) as deleting:
        await Albums(deleting).close(KEY)
    await pool.aclose()
    assert not await redis.exists(ALBUM.format(KEY))
