"""The page about providers says what the code does."""

import pytest

from stemdrop.domain.abilities import UNKNOWN_LENGTH_S
from stemdrop.settings.values import PROVIDER_CHOICES
from stemdrop.storage.circuits import FAILURES_TO_OPEN, FIRST_OPEN_S, LONGEST_OPEN_S
from stemdrop.storage.keys import CALL_LIFETIME_S, DAY_S
from tools.generate_provider_docs import ROOT

PAGE = (ROOT / "docs/providers.md").read_text("utf-8")


@pytest.mark.parametrize(
    "words",
    [
        f"After {FAILURES_TO_OPEN} failures in a row",
        f"it gets no songs for {FIRST_OPEN_S} s",
        f"up to {LONGEST_OPEN_S // 60} minutes",
        f"is priced as one of {UNKNOWN_LENGTH_S // 60} minutes",
        f"for {CALL_LIFETIME_S // DAY_S} days",
        *(f"`{name}`" for name in PROVIDER_CHOICES),
    ],
)
def test_the_page_about_providers_says_what_the_code_does(words: str) -> None:
    assert words in PAGE
