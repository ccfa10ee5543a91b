"""Generates `.env.example` and docs/settings.md from the settings, and the pages on metrics and providers.

`make docs` writes them; a test checks that they are current.
"""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from stemdrop.settings import Settings
from tools.generate_metrics_docs import metrics_page
from tools.generate_provider_docs import providers_page

ROOT = Path(__file__).parent.parent
# The settings of the first section, *Required*.
_REQUIRED = ("telegram_bot_token", "separation_api_key", "secret_key")
# The first setting of each further section → its heading, in the order of the pages.
_HEADINGS = {
    "public_url": "Reachability",
    "telegram_api_url": "Telegram",
    "separation_api_url": "Separation API",
    "providers": "Other providers",
    "poll_after_s": "Waiting for results",
    "access": "Who may use it",
    "https_proxy": "Proxies",
    "redis_url": "Storage and logs",
}
# The other variables that docker-compose.yml reads, and their descriptions.
COMPOSE: dict[str, str] = {
    "COMPOSE_PROFILES": "What runs beside bot, webhook, worker and Redis, separated by commas: https, "
    "tunnel, port, selfhosted or bigfiles (docs/self-hosting.md). Empty: nothing else, which is "
    "enough to start.",
    "TUNNEL_TOKEN": "Profile tunnel: the token of your Cloudflare tunnel. Empty: a temporary tunnel, whose "
    "address is in its log.",
    "TELEGRAM_API_ID": "Profile bigfiles: the number of your application at my.telegram.org.",
    "TELEGRAM_API_HASH": "Profile bigfiles: the hash of your application at my.telegram.org.",
    "ENGINE": "Profile selfhosted: auto, spleeter, light or htdemucs (docs/separator.md). Empty: auto.",
    "SEPARATOR_EXTRAS": "Profile selfhosted: neural builds the separator with what ENGINE=htdemucs needs "
    "(docs/separator.md). Empty: without.",
    "SEPARATOR_RUNS": "Profile selfhosted: how many songs are separated at the same time; each needs one "
    "core and 600 MB. Empty: 2. HTDemucs always takes one.",
    "PRIVATE_PORT": "Profile port: the port for /metrics, /healthz and /readyz, open only on this machine. "
    "Empty: 8001.",
}
_COMPOSE_HEADING = "Profiles of docker compose"
_WIDTH = 100
_INTRODUCTION = """\
# Settings

<!-- written by `make docs` from stemdrop/settings/ -->

Set them in the environment, or in a file `.env` in the folder where you start the command; the environment
takes precedence. An empty value means the default. If settings are missing or wrong, the command ends with
exit code 2 and one line for each of them. Give all processes the same settings; they read
them when they start. While a worker sends stems, it stores them in the folder that the environment variable
`TMPDIR` names. [providers.md](providers.md) says which provider to take, and what the prices mean."""


def env_example() -> str:
    """Return the text of `.env.example`."""
    lines = [
        "# The settings of stemdrop. Copy this file to `.env` and fill in the three required ones.",
        "# An empty value means the default. The environment takes precedence over this file. The same",
        "# as a page: docs/settings.md; `make docs` writes both.",
    ]
    for heading, fields in _sections():
        lines += _rule(heading)
        for name, field in fields.items():
            lines += _commented(_meaning(field), f"{name.upper()}={_default(field)}")
    lines += _rule(_COMPOSE_HEADING)
    for variable, meaning in COMPOSE.items():
        lines += _commented(meaning, f"{variable}=")
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """Return the text of docs/settings.md."""
    lines = [_INTRODUCTION]
    for heading, fields in _sections():
        lines += _table(heading)
        for name, field in fields.items():
            default = "required" if name in _REQUIRED else _shown_default(field)
            lines.append(_row(name.upper(), default, _meaning(field)))
    lines += _table(_COMPOSE_HEADING)
    lines += [_row(variable, "empty", meaning) for variable, meaning in COMPOSE.items()]
    return "\n".join(lines) + "\n"


PAGES = {
    ".env.example": env_example,
    "docs/settings.md": settings_page,
    "docs/metrics.md": metrics_page,
    "docs/providers.md": providers_page,
}


def _sections() -> list[tuple[str, dict[str, FieldInfo]]]:
    """Return each heading with its settings."""
    fields, heading = Settings.model_fields, ""
    sections: dict[str, dict[str, FieldInfo]] = {it: {} for it in _HEADINGS.values()}
    for name, field in fields.items():
        heading = _HEADINGS.get(name, heading)
        if name not in _REQUIRED:
            sections[heading][name] = field
    return [("Required", {name: fields[name] for name in _REQUIRED}), *sections.items()]


def _meaning(field: FieldInfo) -> str:
    meaning = " ".join((field.description or "").split())
    if get_origin(field.annotation) is Literal:
        *others, last = get_args(field.annotation)
        meaning += f" One of: {', '.join(others)} or {last}."
    return meaning


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    default = field.get_default()
    if hasattr(default, "get_secret_value"):
        default = default.get_secret_value()
    if isinstance(default, frozenset | tuple):
        return ",".join(map(str, default))
    return str(default).lower() if isinstance(default, bool) else str(default)


def _shown_default(field: FieldInfo) -> str:
    return f"`{default}`" if (default := _default(field)) else "empty"


def _rule(heading: str) -> list[str]:
    return ["", f"# --- {heading} ".ljust(_WIDTH, "-")]


def _commented(meaning: str, line: str) -> Iterator[str]:
    yield ""
    yield from (f"# {part}" for part in textwrap.wrap(meaning, _WIDTH - 2, break_on_hyphens=False))
    yield line


def _table(heading: str) -> list[str]:
    return ["", f"## {heading}", "", "| setting | default | meaning |", "|---|---|---|"]


def _row(name: str, default: str, meaning: str) -> str:
    return f"| `{name}` | {default} | {meaning} |"


def main() -> None:
    """Write all pages."""
    for name, text in PAGES.items():
        (ROOT / name).write_text(text(), "utf-8")


if __name__ == "__main__":
    main()
