"""Which engines there are, by name. The one place to add another."""

from separator import light
from separator.engine import Engine

_STEMS = {"light": light.STEMS}


def load(name: str) -> Engine:
    """The engine of this name; `ValueError` for an unknown one. Its libraries are imported only now."""
    if name == "light":
        # Imported here, as numpy and scipy stay out of the service.
        from separator.light.engine import LightEngine  # noqa: PLC0415

        return LightEngine()
    raise ValueError(_unknown(name))


def known_stems(name: str) -> tuple[str, ...]:
    """The stems of the engine `name`, without loading it; `ValueError` for an unknown one."""
    if name not in _STEMS:
        raise ValueError(_unknown(name))
    return _STEMS[name]


def _unknown(name: str) -> str:
    return f"there is no engine {name!r}; there is: {', '.join(_STEMS)}"
