"""`AbilitiesCache`: what the providers can do, stored for all processes, in the order of asking them."""

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


@dataclass(frozen=True, slots=True)
class _Ranked:
    name: str
    abilities: Abilities
    is_open: bool  # its circuit


class AbilitiesCache:
    """The abilities of the providers in `order`: what each last reported, or else those in `known`.

    `hosts` maps providers that report their abilities to the host under which these are stored. A provider
    whose circuit is open is used only if no other can do the same. Every method raises `StoreUnavailable`.
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

        Each choice is that of the first provider of `candidates`, or else that of a provider to `avoid`.
        """
        return merged([it.abilities.for_song(duration_s) for it in await self._ranked(avoid)])

    async def candidates(
        self, mode: Mode, instrument: str, duration_s: float, avoid: Collection[str] = ()
    ) -> list[Candidate]:
        """Return the providers that can do this, in the order in which they are asked.

        Those with an open circuit are left out, unless all have one.
        """
        able = [
            it
            for it in await self._ranked(avoid)
            if it.name not in avoid and it.abilities.can(mode, instrument)
        ]
        closed = [it for it in able if not it.is_open]
        return [
            Candidate(it.name, it.abilities.for_song(duration_s).price(mode, instrument))
            for it in closed or able
        ]

    async def of(self, provider: str) -> Abilities:
        """Return what one provider can do."""
        return self._read(provider, cast(str | None, await self._redis.get(self._key(provider))))

    async def put(self, abilities: Abilities, provider: str = "") -> None:
        """Store what a provider (default: the first) has reported."""
        key = self._key(provider or self._order[0])
        await self._redis.set(key, json.dumps(abilities.to_json()))

    async def _ranked(self, avoid: Collection[str]) -> list[_Ranked]:
        """Return all providers: those with an open circuit after the others, and those to avoid last."""
        keys = [*map(self._key, self._order), *map(CIRCUIT_OPEN.format, self._order)]
        stored = cast(list[str | None], await self._redis.mget(keys))
        circuits = stored[len(self._order) :]
        found = [
            _Ranked(name, self._read(name, said), bool(circuit))
            for name, said, circuit in zip(self._order, stored, circuits, strict=False)
        ]
        return sorted(found, key=lambda it: (it.name in avoid, it.is_open))

    def _key(self, provider: str) -> str:
        return ABILITIES.format(self._hosts.get(provider, provider))

    def _read(self, provider: str, stored: str | None) -> Abilities:
        return Abilities.from_json(json.loads(stored)) if stored else self._known.get(provider, ALL)
