"""Which providers the settings name, and what they are called."""

import pytest

from stemdrop.provider.registry import provider_labels, provider_titles
from stemdrop.settings import load_settings

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
    known = {"TELEGRAM_BOT_TOKEN": "1:a", "SECRET_KEY": "s" * 16, **KEYS}
    settings = load_settings({**known, "PROVIDERS": providers, "SEPARATION_API_URL": api_url})
    assert list(provider_labels(settings).items()) == list(labels.items())
    assert titles is None or list(provider_titles(settings).values()) == titles
