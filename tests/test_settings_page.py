"""`.env.example` names exactly the settings."""

import re
from pathlib import Path

from stemdrop.settings import Settings
from tools.generate_settings_docs import COMPOSE

ROOT = Path(__file__).parent.parent


def test_env_example_names_exactly_the_settings_with_their_defaults() -> None:
    """And what compose reads beside them; each as `NAME=value`, with the default."""
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    shown = dict(found.groups() for line in lines if (found := re.fullmatch(r"([A-Z][A-Z0-9_]+)=(.*)", line)))
    fields = {name.upper(): field for name, field in Settings.model_fields.items()}
    assert shown.keys() == fields.keys() | COMPOSE.keys()
    for name, field in fields.items():
        value = shown[name]
        if not field.is_required() and value:
            default = field.get_default()
            known = default.get_secret_value() if hasattr(default, "get_secret_value") else default
            assert value.lower() == (f"{known:g}" if isinstance(known, float) else str(known)).lower(), name
