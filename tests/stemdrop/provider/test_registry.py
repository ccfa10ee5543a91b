"""Which providers the settings name, and what they are called."""

import httpx
import pytest

from stemdrop.provider.registry import build_providers, provider_labels, provider_titles
from stemdrop.settings import load_settings
from stemdrop.storage.counters import Counters

KNOWN = {"TELEGRAM_BOT_TOKEN": "1:a", "SECRET_KEY": "s" * 16}
KEYS = {"SEPARATION_API_KEY": "a", "FAL_API_KEY": "b", "SELFHOSTED_API_KEY": "c"}
OWN, KIE = "http://separator:8001", "https://api.kie.ai"


@pytest.mark.parametrize(
    ("providers", "api_url", "labels", "titles"),
    [
        ("", OWN, {"selfhosted": ""}, []),
        ("sunoapi", OWN, {"selfhosted": ""}, []),
        ("Fal; sunoapi,FAL", OWN, {"fal": "fal", "selfhosted": ""}, ["fal", "own separator"]),
        ("sunoapi fal", KIE, {"kie": "", "fal": "fal"}, ["kie.ai", "fal"]),
        ("sunoapi,selfhosted", KIE, {"kie": "", "selfhosted": "selfhosted"}, ["kie.ai", "own separator"]),
        # two own separators
        ("sunoapi,selfhosted", OWN, {"sunoapi": "", "selfhosted": "selfhosted"}, None),
    ],
)
def test_a_provider_has_the_name_of_what_is_at_its_address(
    providers: str, api_url: str, labels: dict[str, str], titles: list[str] | None
) -> None:
    settings = load_settings({**KNOWN, **KEYS, "PROVIDERS": providers, "SEPARATION_API_URL": api_url})
    assert list(provider_labels(settings).items()) == list(labels.items())
    assert titles is None or list(provider_titles(settings).values()) == titles


@pytest.mark.parametrize(
    ("providers", "secret", "all_call_back"),
    [
        ("", "", True),
        ("fal,stemsplit", "s", True),
        ("fal,stemsplit", "", False),
        ("sunoapi,lalal", "", False),
    ],
)
async def test_callbacks_are_missed_only_where_every_provider_sends_them(
    providers: str, secret: str, all_call_back: bool
) -> None:
    keys = {**KEYS, "LALAL_API_KEY": "d", "STEMSPLIT_API_KEY": "e", "STEMSPLIT_WEBHOOK_SECRET": secret}
    settings = load_settings({**KNOWN, **keys, "PROVIDERS": providers})
    async with httpx.AsyncClient() as http:
        assert build_providers(settings, http, Counters(None)).all_call_back is all_call_back


@pytest.mark.parametrize("name", ["stemsplit", "lalal", "fal", "selfhosted"])
async def test_a_provider_that_is_no_longer_asked_is_known_by_its_key(name: str) -> None:
    environ = {**KNOWN, "SEPARATION_API_KEY": "a"}
    async with httpx.AsyncClient() as http:
        for key, is_known in (("a-key", True), ("", False)):
            settings = load_settings({**environ, f"{name.upper()}_API_KEY": key})
            providers = build_providers(settings, http, Counters(None))
            assert providers.order == ("sunoapi",)
            assert (providers.named_by(name) == name) is (providers.get(name) is not None) is is_known
            # its stems may be fetched, and at no private address of a server that is not used
            assert (OWN in settings.provider_urls) is (name == "selfhosted" and is_known)
