"""The generated pages about the settings are current and complete."""

import re

import pytest

from stemdrop.settings import Settings
from tools.generate_settings_docs import COMPOSE, PAGES, ROOT


@pytest.mark.parametrize("name", PAGES)
def test_the_generated_pages_are_current(name: str) -> None:
    assert (ROOT / name).read_text("utf-8") == PAGES[name](), "run: make docs"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_has_a_description(name: str) -> None:
    meaning = Settings.model_fields[name].description
    assert meaning
    assert meaning.endswith(".")


def test_every_variable_of_docker_compose_is_described() -> None:
    """Except the images' version and the variables of `.env.sandbox`, which operators do not set."""
    read = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text("utf-8")))
    settings = {name.upper() for name in Settings.model_fields}
    assert read - settings == COMPOSE.keys() - {"COMPOSE_PROFILES"} | {
        *("STEMDROP_VERSION", "SANDBOX_KEY", "SANDBOX_PORT", "ENV_FILE")
    }


def test_env_example_names_exactly_the_settings_with_their_defaults() -> None:
    """And the variables of docker-compose.yml; each as `NAME=value`, with the default."""
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    found = [re.fullmatch(r"([A-Z][A-Z0-9_]+)=(.*)", line) for line in lines]
    shown = {match[1]: match[2] for match in found if match}
    fields = {name.upper(): field for name, field in Settings.model_fields.items()}
    assert shown.keys() == fields.keys() | COMPOSE.keys()
    for name, field in fields.items():
        value = shown[name]
        if not field.is_required() and value:
            default = field.get_default()
            known = default.get_secret_value() if hasattr(default, "get_secret_value") else default
            assert value.lower() == (f"{known:g}" if isinstance(known, float) else str(known)).lower(), name
