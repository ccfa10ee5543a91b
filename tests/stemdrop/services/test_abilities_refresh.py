"""What the providers say of themselves, beside what the table and the operator's settings say."""

from typing import Any

import pytest
from product import Product

from stemdrop.domain.jobs import Mode
from stemdrop.provider.capabilities import CAPABILITIES

KEYS = {f"{name.upper()}_API_KEY": "a-key" for name in ("stemsplit", "lalal", "fal")}


@pytest.fixture
def product_options() -> dict[str, Any]:
    return {"PROVIDERS": "fal,lalal,stemsplit", **KEYS}


async def test_a_provider_that_does_not_tell_its_prices_keeps_those_of_the_settings(product: Product) -> None:
    before = await product.abilities.get(240)
    await product.abilities_refresh.run()
    assert await product.abilities.get(240) == before
    # fal alone is the first, with six stems
    expected = CAPABILITIES["fal"].priced(product.settings.fal_credits_per_minute).for_song(240)
    assert before.price(Mode.SPLIT_STEM) == expected.price(Mode.SPLIT_STEM) > 0
