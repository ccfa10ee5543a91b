"""`Remixes`: orders of remixes, the drafts of mixing desks, and the remixes that Telegram stores."""

import json
from dataclasses import asdict
from typing import cast

from stemdrop.domain.jobs import Job
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.recipes import OPEN_REMIXES, Recipe, Remix, RemixState
from stemdrop.storage.connection import RedisStore, run_script
from stemdrop.storage.keys import (
    DESK,
    JOB_LIFETIME_S,
    KEPT_LIFETIME_S,
    REMIX,
    REMIX_LIFETIME_S,
    REMIXED,
    REMIXES_OF,
)

_ADD = """
-- KEYS: remix, remixes of its user   ARGV: id, now, lifetime, most open ones, field, value, …
if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[2] - ARGV[3])
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
"""

_MOVE = """
-- KEYS: remix, remixes of its user   ARGV: id, states that it may have, new state, is open
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 0 end
if ARGV[4] == '' then redis.call('ZREM', KEYS[2], ARGV[1]) end
if state == ARGV[3] then return 1 end
if not string.find(ARGV[2], ',' .. state .. ',', 1, true) then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[3])
return 1
"""

_WRITE = """
-- KEYS: remix   ARGV: field, value, …     one that was deleted stays deleted
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
"""

_SENT = "sent:"


class Remixes(RedisStore):
    async def add(self, remix: Remix, most_open: int) -> bool:
        """Store an order. Idempotent. False: its user has so many open ones already."""
        fields = {
            "job_id": remix.job_id,
            "user_id": str(remix.user_id),
            "recipes": json.dumps([asdict(recipe) for recipe in remix.recipes]),
            "is_archive": json.dumps(remix.is_archive),
            "language": remix.language,
            "created_at": str(self._clock()),
            "state": remix.state.value,
        }
        args = [remix.id, self._clock(), REMIX_LIFETIME_S, most_open]
        args += [text for pair in fields.items() for text in pair]
        return bool(await run_script(self._redis, _ADD, self._keys(remix), args))

    async def get(self, remix_id: str) -> Remix | None:
        stored = cast(dict[str, str], await self._redis.hgetall(REMIX.format(remix_id)))
        if "recipes" not in stored:
            return None
        return Remix(
            id=remix_id,
            job_id=stored["job_id"],
            user_id=int(stored["user_id"]),
            recipes=tuple(Recipe.from_json(recipe) for recipe in json.loads(stored["recipes"])),
            is_archive=bool(json.loads(stored["is_archive"])),
            language=stored["language"],
            created_at=float(stored["created_at"]),
            state=RemixState(stored["state"]),
            message_id=int(stored.get("message_id", 0)),
        )

    async def move(self, remix: Remix, to: RemixState) -> bool:
        """Move an open order on. Idempotent. False: it has ended otherwise, or was deleted."""
        states = f",{','.join(OPEN_REMIXES)},"
        args = [remix.id, states, to.value, "1" if to in OPEN_REMIXES else ""]
        return bool(await run_script(self._redis, _MOVE, self._keys(remix), args))

    async def note_message(self, remix_id: str, message_id: int) -> None:
        """Note the message that shows the progress."""
        await run_script(self._redis, _WRITE, [REMIX.format(remix_id)], ["message_id", str(message_id)])

    async def tick(self, remix_id: str, entry: str, sent: Sent) -> None:
        """Record that a file of this name arrived in the chat."""
        stored = json.dumps(asdict(sent))
        await run_script(self._redis, _WRITE, [REMIX.format(remix_id)], [f"{_SENT}{entry}", stored])

    async def sent(self, remix_id: str) -> dict[str, Sent]:
        """Return what has arrived in the chat, by name."""
        stored = cast(dict[str, str], await self._redis.hgetall(REMIX.format(remix_id)))
        found = {name: text for name, text in stored.items() if name.startswith(_SENT)}
        return {name.removeprefix(_SENT): Sent(**json.loads(text)) for name, text in found.items()}

    async def set_draft(self, job_id: str, user_id: int, recipe: Recipe) -> None:
        """Store what a user is setting on the mixing desk of a job."""
        key = DESK.format(job_id)
        async with self._redis.pipeline() as pipeline:
            pipeline.hset(key, str(user_id), json.dumps(asdict(recipe)))
            pipeline.expire(key, JOB_LIFETIME_S)
            await pipeline.execute()

    async def draft(self, job_id: str, user_id: int) -> Recipe:
        stored = await self._redis.hget(DESK.format(job_id), str(user_id))
        return Recipe.from_json(json.loads(stored)) if stored else Recipe()

    async def cached(self, job: Job, recipe: Recipe) -> Sent | None:
        """Return the remix of the same split and recipe that Telegram stores, for all users."""
        stored = await self._redis.hget(_cache_key(job), recipe.digest)
        return Sent(**json.loads(stored)) if stored else None

    async def cache(self, job: Job, recipe: Recipe, sent: Sent) -> None:
        key = _cache_key(job)
        async with self._redis.pipeline() as pipeline:
            pipeline.hset(key, recipe.digest, json.dumps(asdict(sent)))
            pipeline.expire(key, KEPT_LIFETIME_S)
            await pipeline.execute()

    async def forget_cached(self, job: Job, recipe: Recipe) -> None:
        """Delete an entry whose file Telegram no longer has."""
        await self._redis.hdel(_cache_key(job), recipe.digest)

    @staticmethod
    def _keys(remix: Remix) -> list[str]:
        return [REMIX.format(remix.id), REMIXES_OF.format(remix.user_id)]


def _cache_key(job: Job) -> str:
    if job.mode is None:
        raise ValueError(f"job {job.id} has no mode")
    return REMIXED.format(job.source.split_id(job.mode, job.instrument, job.file_format))
