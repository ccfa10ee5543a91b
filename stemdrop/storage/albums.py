"""`Albums`: songs that were sent together, from the first one that arrives until each has its job."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from stemdrop.domain.job_fields import from_fields, to_fields
from stemdrop.domain.jobs import Job, Mode
from stemdrop.storage.connection import RedisStore, run_script
from stemdrop.storage.keys import ALBUM, ALBUM_LIFETIME_S, ALBUMS_OF


@dataclass(frozen=True, slots=True)
class AlbumFile:
    """One file of an album; in the end it has a job, or a `refusal` in its sender's language.

    `song` becomes the job; for a file that is no song, it holds only the place and the title.
    """

    song: Job
    post: str  # identifies the message; its automatic copy has the same
    job_id: str = ""
    refusal: str = ""

    @property
    def is_waiting(self) -> bool:
        return not (self.job_id or self.refusal)


@dataclass(frozen=True, slots=True)
class Asker:
    """The user who wants an album split, in the message `request_id`.

    `user_id` 0: every member of the chat may choose, until one does.
    """

    user_id: int
    language: str
    request_id: int


@dataclass(frozen=True, slots=True)
class AlbumOrder:
    """The songs for which a tap has picked a mode; a tap that is handled again goes on with them.

    `prices` maps each job's id to the credits that its user has agreed to; earlier versions stored none.
    """

    tap_id: str
    mode: Mode
    job_ids: list[str]
    instrument: str = ""
    prices: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Album:
    """The files seen so far, in the order in which they were sent.

    `message_id` is that of its menu; after the menu is closed, each song that still comes gets its own menu.
    `told` counts the refusals that are in the chat.
    """

    files: list[AlbumFile]
    asker: Asker | None = None
    joined_at: float = 0
    message_id: int = 0
    is_closed: bool = False
    told: int = 0
    order: AlbumOrder | None = None


_WRITE = """
-- KEYS: album   ARGV: a field that must exist, field, value, …
-- an album that has expired or was deleted stays deleted
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1
"""


class Albums(RedisStore):
    """Albums by `<chat>:<media_group_id>`."""

    async def join(self, key: str, song: Job, post: str, refusal: str = "") -> None:
        """Add a file that the account of `song` has sent. Idempotent."""
        album, index, number = ALBUM.format(key), ALBUMS_OF.format(song.account), song.source_message_id
        async with self._redis.pipeline() as pipeline:
            pipeline.hsetnx(album, f"file:{number}", json.dumps(to_fields(song)))
            pipeline.hset(album, f"post:{number}", post)
            if refusal:
                pipeline.hset(album, f"end:{number}", json.dumps({"refusal": refusal}))
            pipeline.hset(album, "joined_at", str(self._clock()))
            pipeline.expire(album, ALBUM_LIFETIME_S)
            pipeline.sadd(index, key)
            pipeline.expire(index, ALBUM_LIFETIME_S)
            await pipeline.execute()

    async def ask(self, key: str, asker: Asker | None) -> Asker | None:
        """Store the asker if the album has none yet; return the stored one."""
        if asker:
            async with self._redis.pipeline() as pipeline:
                pipeline.hsetnx(ALBUM.format(key), "asker", json.dumps(asdict(asker)))
                pipeline.expire(ALBUM.format(key), ALBUM_LIFETIME_S)  # it may just have been deleted
                await pipeline.execute()
        stored = await self._redis.hget(ALBUM.format(key), "asker")
        found = Asker(**json.loads(stored)) if stored else None
        if asker and found:
            await self._list(key, found.user_id)
        return found

    async def give(self, key: str, asker: Asker) -> None:
        """Let an album for which every member could choose belong to this asker."""
        await self._list(key, asker.user_id)
        await self._set(key, {"asker": json.dumps(asdict(asker))})

    async def claim(self, post: str, key: str) -> bool:
        """Reserve `post` for this album. False: another album, its copy, has reserved it."""
        holder = ALBUM.format(f"of:{post}")
        if await self._redis.set(holder, key, ex=ALBUM_LIFETIME_S, nx=True):
            return True
        return bool(await self._redis.get(holder) == key)

    async def get(self, key: str) -> Album | None:
        stored = cast(dict[str, str], await self._redis.hgetall(ALBUM.format(key)))
        if "joined_at" not in stored:
            return None
        numbers = sorted(int(name[5:]) for name in stored if name.startswith("file:"))
        order: dict[str, Any] | None = json.loads(stored.get("order", "null"))
        return Album(
            files=[_file(number, stored) for number in numbers],
            asker=Asker(**json.loads(stored["asker"])) if "asker" in stored else None,
            joined_at=float(stored["joined_at"]),
            message_id=int(stored.get("message_id", 0)),
            is_closed=stored.get("is_closed") == "1",
            told=int(stored.get("told", 0)),
            order=AlbumOrder(**{**order, "mode": Mode(order["mode"])}) if order else None,
        )

    async def end(self, key: str, message_id: int, *, job_id: str = "", refusal: str = "") -> bool:
        """Note the job of the file in this message, or why it is refused. False: the album was deleted."""
        end = json.dumps({"job_id": job_id, "refusal": refusal})
        return await self._set(key, {f"end:{message_id}": end}, only_with=f"file:{message_id}")

    async def note_menu(self, key: str, message_id: int) -> None:
        await self._set(key, {"message_id": str(message_id)})

    async def note_told(self, key: str, count: int) -> None:
        await self._set(key, {"told": str(count)})

    async def close(self, key: str) -> None:
        await self._set(key, {"is_closed": "1"})

    async def order(self, key: str, order: AlbumOrder) -> None:
        await self._set(key, {"order": json.dumps(asdict(order))})

    async def of(self, account: int) -> list[str]:
        """Return the keys of the albums that this account has sent or asked for."""
        return sorted(cast(set[str], await self._redis.smembers(ALBUMS_OF.format(account))))

    async def forget_of(self, account: int) -> None:
        """Delete the albums that this account has sent or asked for."""
        keys = await self.of(account)
        await self._redis.delete(ALBUMS_OF.format(account), *(ALBUM.format(key) for key in keys))

    async def _list(self, key: str, account: int) -> None:
        """Note that the account, if it is not 0, has asked for the album."""
        if account:
            async with self._redis.pipeline() as pipeline:
                pipeline.sadd(ALBUMS_OF.format(account), key)
                pipeline.expire(ALBUMS_OF.format(account), ALBUM_LIFETIME_S)
                await pipeline.execute()

    async def _set(self, key: str, fields: dict[str, str], only_with: str = "joined_at") -> bool:
        args = [only_with, *(text for pair in fields.items() for text in pair)]
        return bool(await run_script(self._redis, _WRITE, [ALBUM.format(key)], args))


def _file(number: int, stored: dict[str, str]) -> AlbumFile:
    song = from_fields(json.loads(stored[f"file:{number}"]))
    post = stored.get(f"post:{number}", f"song:{song.chat_id}:{number}")
    return AlbumFile(song, post, **json.loads(stored.get(f"end:{number}", "{}")))
