"""`DeadLetters`: tasks that were given up without failing a job, for the operator (`stemdrop jobs`).

Dead letters hold nothing that users wrote.
"""

import json
from dataclasses import dataclass
from typing import Any, cast

from stemdrop.storage.connection import RedisStore
from stemdrop.storage.keys import GIVEN_UP, GIVEN_UP_LIFETIME_S, GIVEN_UP_MOST, TRIES, TRIES_LIFETIME_S


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task that was given up at `at` (Unix seconds).

    `key` is the engine's: `update:<its number>`, `pack:<job id>:<letter of the button>`. `what` and `why`
    describe it to the operator.
    """

    key: str
    what: str
    why: str
    at: float


class DeadLetters(RedisStore):
    async def add(self, key: str, what: str, why: str) -> None:
        """Note that this task was given up; replaces an earlier note."""
        value = json.dumps({"what": what, "why": why, "at": self._clock()})
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(GIVEN_UP, key, value)
            pipeline.expire(GIVEN_UP, GIVEN_UP_LIFETIME_S)
            await pipeline.execute()
        await self.all()

    async def count_try(self, key: str) -> int:
        """Count one more failed try of this task; returns how many there were."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.incr(TRIES.format(key))
            pipeline.expire(TRIES.format(key), TRIES_LIFETIME_S)
            return int((await pipeline.execute())[0])

    async def all(self) -> list[DeadLetter]:
        """Return the dead letters, newest first; delete those that are too old or too many."""
        stored = await cast(Any, self._redis.hgetall(GIVEN_UP))
        letters = [_read(key, json.loads(value)) for key, value in stored.items()]
        letters.sort(key=lambda letter: letter.at, reverse=True)
        since = self._clock() - GIVEN_UP_LIFETIME_S
        kept = [letter for letter in letters[:GIVEN_UP_MOST] if letter.at >= since]
        for letter in letters[len(kept) :]:
            await self.drop(letter.key)
        return kept

    async def drop(self, key: str) -> bool:
        """Delete the dead letter. False: there was none."""
        return bool(await cast(Any, self._redis.hdel(GIVEN_UP, key)))


def _read(key: str, value: dict[str, Any]) -> DeadLetter:
    """Build a dead letter; fields of a newer version are ignored."""
    return DeadLetter(key, str(value.get("what", "")), str(value.get("why", "")), float(value.get("at", 0)))
