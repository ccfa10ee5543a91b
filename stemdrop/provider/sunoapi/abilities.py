"""What the hosts of this contract can do: a table of the paid hosts, and our own separator's answer.

Sources of the table: the pricing and create pages of docs.sunoapi.org and docs.kie.ai.
"""

import re
from urllib.parse import urlsplit

from stemdrop.domain.abilities import ALL, Abilities, Ability
from stemdrop.domain.audio_types import FILE_FORMATS
from stemdrop.domain.jobs import INSTRUMENTS, Mode
from stemdrop.errors import BadContract

OF_HOST = {"api.sunoapi.org": ALL, "api.kie.ai": ALL}
PATH = "/api/v1/vocal-removal/abilities"
_MOST_STEMS = 64
_ENGINE = re.compile(r"[a-z0-9-]{1,30}")


def known_abilities(api_url: str) -> Abilities | None:
    """Return the abilities of a paid host; `None` for a host that has to be asked."""
    return OF_HOST.get(urlsplit(api_url).hostname or "")


def read_abilities(data: object) -> Abilities:
    """Read `data` of the abilities answer, without instruments that are not ours. Raises `BadContract`."""
    answer = data if isinstance(data, dict) else {}
    modes = answer.get("modes")
    if not isinstance(modes, dict) or not modes.keys() & set(Mode):
        raise BadContract("the abilities name no mode that is known")
    return Abilities(
        {mode: _ability(modes[mode]) for mode in Mode if mode in modes},
        engine=_engine(answer.get("engine")),
        better_engine=_engine(answer.get("betterEngine")),
        formats=tuple(name for name in _names(answer.get("formats")) if name in FILE_FORMATS),
    )


def _ability(value: object) -> Ability:
    if not isinstance(value, dict):
        raise BadContract("an ability is not an object")
    price = value.get("credits")
    if isinstance(price, bool) or not isinstance(price, int) or not 0 <= price <= 1_000_000:
        raise BadContract("the credits of an ability are no number")
    names = _names(value.get("stemNames"))
    return Ability(price, _names(value.get("stems")), tuple(name for name in INSTRUMENTS if name in names))


def _engine(name: object) -> str:
    """Return the engine's name; empty for anything else, since only operators read it."""
    return name if isinstance(name, str) and _ENGINE.fullmatch(name) else ""


def _names(value: object) -> tuple[str, ...]:
    names = value or []
    if not isinstance(names, list) or len(names) > _MOST_STEMS:
        raise BadContract("the names of an ability are no list")
    if not all(isinstance(name, str) and 0 < len(name) <= 40 and name.isprintable() for name in names):
        raise BadContract("a name of an ability is no short text")
    return tuple(names)
