"""What is written about the settings is what the settings say of themselves."""

import re

import pytest

from stemdrop.settings import Settings
from tools.generate_settings_docs import COMPOSE, PAGES, ROOT


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_are_current(name: str) -> None:
    assert (ROOT / name).read_text("utf-8") == PAGES[name](), "write it anew: make docs"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_says_what_it_is_for(name: str) -> None:
    meaning = Settings.model_fields[name].description
    assert meaning
    assert meaning.endswith(".")


def test_what_compose_reads_is_told() -> None:
    """But for what nobody sets: the images' version, and what only `.env.sandbox` has."""
    read = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text("utf-8")))
    settings = {name.upper() for name in Settings.model_fields}
    assert read - settings == COMPOSE.keys() - {"COMPOSE_PROFILES"} | {
        *("STEMDROP_VERSION", "SANDBOX_KEY", "ENV_FILE")
    }
