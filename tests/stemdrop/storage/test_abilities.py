"""What several providers can do together, at the prices of one song, against a real Redis."""

from redis.asyncio import Redis

from stemdrop.domain.abilities import Abilities, Ability
from stemdrop.domain.jobs import Mode
from stemdrop.storage.abilities import AbilitiesCache

ONE = Mode.SPLIT_STEM_ADVANCED
OWN = Abilities({ONE: Ability(0, instruments=("Bass",))})
PAID = Abilities({ONE: Ability(instruments=("Bass", "Synth"), per_minute=13)})


async def test_an_instrument_that_only_the_second_provider_has_costs_what_it_takes(redis: Redis) -> None:
    cache = AbilitiesCache(redis, ["selfhosted", "lalal"], {}, {"selfhosted": OWN, "lalal": PAID})
    offered = await cache.get(120)
    assert [offered.price(ONE, name) for name in ("Bass", "Synth")] == [0, 26]
    assert not offered.is_free
    for name in ("Bass", "Synth"):
        assert (await cache.candidates(ONE, name, 120))[0].price == offered.price(ONE, name)
