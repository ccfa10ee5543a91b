"""Small guards: what one place says, another must not contradict."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stemdrop.settings import Settings
from tools.generate_settings_docs import COMPOSE

ROOT = Path(__file__).parent.parent
ROOMS = {"stemdrop", "bot", "webhook", "separator", "sandbox"}
# Who may know whom; the command line, which puts all together, aside.
MAY_IMPORT = {
    "stemdrop": set[str](),
    "bot": {"stemdrop"},
    "webhook": {"stemdrop"},
    "separator": set[str](),
    "sandbox": {"separator"},
}
PUTS_TOGETHER = {"stemdrop/cli.py", "stemdrop/serve.py", "stemdrop/operator/job_actions.py"}


def imports(path: Path) -> Iterator[str]:
    """The rooms that a file imports, by statement or by name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            assert node.level == 0, f"{path} imports relatively"
        else:
            continue
        yield from ROOMS & {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_rooms_import_only_whom_they_may_know(room: str) -> None:
    files = [path for path in (ROOT / room).rglob("*.py") if str(path.relative_to(ROOT)) not in PUTS_TOGETHER]
    assert len(files) > 5
    allowed = MAY_IMPORT[room] | {room}
    wrong = [
        (str(path.relative_to(ROOT)), name) for path in files for name in imports(path) if name not in allowed
    ]
    assert wrong == []


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
