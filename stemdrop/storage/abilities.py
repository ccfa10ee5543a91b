"""`AbilitiesCache`: what the providers can do, in the order in which they are asked, for all processes."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis

from stemdrop.domain.abilities import ALL, Abilities, merged
from stemdrop.domain.jobs import Mode
from stemdrop.storage.keys import ABILITIES, CIRCUIT_OPEN


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider that may be asked for a split, and its price in credits."""

    provider: str
    price: int


class AbilitiesCache:
    """The abilities of the providers in `order`: what each last said, or else `known` of it.

    `hosts` names the providers that say themselves what they can do, with the key of the answer. A provider
    whose circuit is open comes only where no other does. Every method raises `StoreUnavailable`.
    """

    def __init__(
        self,
        redis: Redis,
        order: Collection[str],
        hosts: Mapping[str, str],
        known: Mapping[str, Abilities] | None = None,
    ) -> None:
        self._redis = redis
        self._order = tuple(order)
        self._hosts = hosts
        self._known = known or {}

    async def get(self, duration_s: float = 0, avoid: Collection[str] = ()) -> Abilities:
        """Return what can be ordered now, with the prices of a song of this length (0: not known).

        Providers to `avoid` count only where there is no other.
        """
        return merged([it for _, it in await self._ranked(avoid)]).for_song(duration_s)

    async def candidates(
        self, mode: Mode, instrument: str, duration_s: float, avoid: Collection[str] = ()
    ) -> list[Candidate]:
        """Return the providers that can do this, in the order in which they are asked."""
        ranked = [(name, it) for name, it in await self._ranked(avoid) if name not in avoid]
        return [
            Candidate(name, it.for_song(duration_s).price(mode, instrument))
            for name, it in ranked
            if it.can(mode, instrument)
        ]

    async def of(self, provider: str) -> Abilities:
        """Return what one provider can do."""
        return self._read(provider, cast(str | None, await self._redis.get(self._key(provider))))

    async def put(self, abilities: Abilities, provider: str = "") -> None:
        """Store what a provider (default: the first) has said."""
        key = self._key(provider or self._order[0])
        await self._redis.set(key, json.dumps(abilities.to_json()))

    async def _ranked(self, avoid: Collection[str]) -> list[tuple[str, Abilities]]:
        names = [name for name in self._order if name not in avoid] or list(self._order)
        keys = [self._key(name) for name in names]
        if len(names) > 1:
            keys += [CIRCUIT_OPEN.format(name) for name in names]
        stored = cast(list[str | None], await self._redis.mget(keys))
        found = [(name, self._read(name, stored[index])) for index, name in enumerate(names)]
        closed = [it for it, is_open in zip(found, stored[len(names) :], strict=False) if not is_open]
        return closed or found

    def _key(self, provider: str) -> str:
        return ABILITIES.format(self._hosts.get(provider, provider))

    def _read(self, provider: str, stored: str | None) -> Abilities:
        return Abilities.from_json(json.loads(stored)) if stored else self._known.get(provider, ALL)
