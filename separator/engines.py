"""The engines by name."""

from separator import light, spleeter
from separator.engine import Engine
from separator.errors import ModelError
from separator.models import SPLEETER

AUTO = "auto"
_STEMS = {"spleeter": spleeter.STEMS, "light": light.STEMS}
NAMES = (AUTO, *_STEMS)
"""The values of `ENGINE`; `auto` is the best engine whose model is there."""


def choose(name: str) -> str:
    """Return the engine that `name` stands for. Raises `ModelError` when its model is missing."""
    if name == AUTO:
        return "spleeter" if SPLEETER.is_there() else "light"
    if name == "spleeter" and not SPLEETER.is_there():
        raise ModelError(SPLEETER.missing())
    return name


def load(name: str) -> Engine:
    """Import and return the engine `name`.

    Raises ValueError for an unknown one, and `ModelError` for a model that is missing or damaged.
    """
    known_stems(name)
    # Imported here to keep numpy and scipy out of the web process.
    if name == "spleeter":
        from separator.spleeter.engine import SpleeterEngine  # noqa: PLC0415

        return SpleeterEngine()
    from separator.light.engine import LightEngine  # noqa: PLC0415

    return LightEngine()


def known_stems(name: str) -> tuple[str, ...]:
    """Return the stems of the engine `name` without importing it. Raises ValueError for an unknown one."""
    if name not in _STEMS:
        raise ValueError(f"there is no engine {name!r}; there is: {', '.join(_STEMS)}")
    return _STEMS[name]
