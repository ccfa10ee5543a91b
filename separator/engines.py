"""The engines by name."""

from separator import light
from separator.engine import Engine

_STEMS = {"light": light.STEMS}


def load(name: str) -> Engine:
    """Import and return the engine `name`. Raises ValueError for an unknown one."""
    known_stems(name)
    # Imported here to keep numpy and scipy out of the web process.
    from separator.light.engine import LightEngine  # noqa: PLC0415

    return LightEngine()


def known_stems(name: str) -> tuple[str, ...]:
    """Return the stems of the engine `name` without importing it. Raises ValueError for an unknown one."""
    if name not in _STEMS:
        raise ValueError(f"there is no engine {name!r}; there is: {', '.join(_STEMS)}")
    return _STEMS[name]
