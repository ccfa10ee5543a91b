"""`AbilitiesCache`: what the provider last said that it can do, for all processes."""

import json
from urllib.parse import urlsplit

from redis.asyncio import Redis

from stemdrop.domain.abilities import ALL, Abilities
from stemdrop.storage.keys import ABILITIES


class AbilitiesCache:
    """The abilities of one host, which stay until the next answer. Raises `StoreUnavailable`."""

    def __init__(self, redis: Redis, api_url: str) -> None:
        self._redis = redis
        self._key = ABILITIES.format(urlsplit(api_url).netloc.rpartition("@")[2])

    async def get(self) -> Abilities:
        """Return what was last known; everything, at full prices, if nothing is known."""
        stored = await self._redis.get(self._key)
        return Abilities.from_json(json.loads(stored)) if stored else ALL

    async def put(self, abilities: Abilities) -> None:
        await self._redis.set(self._key, json.dumps(abilities.to_json()))
