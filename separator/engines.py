"""The engines by name."""

from collections.abc import Mapping
from importlib.util import find_spec

from separator import htdemucs, light, spleeter
from separator.engine import Engine
from separator.errors import ModelError
from separator.models import HTDEMUCS, SPLEETER

AUTO = "auto"
_STEMS = {"spleeter": spleeter.STEMS, "light": light.STEMS, "htdemucs": htdemucs.STEMS}
_MODELS = {"spleeter": SPLEETER, "htdemucs": HTDEMUCS}
NAMES = (AUTO, *_STEMS)
"""The values of `ENGINE`; `auto` is Spleeter where its model is, else the light engine."""


def named_in(environ: Mapping[str, str]) -> str:
    """Return the value of the setting `ENGINE`; an empty one is `auto`."""
    return environ.get("ENGINE", "").strip() or AUTO


def choose(name: str) -> str:
    """Return the engine that `name` stands for. Raises `ModelError` when its model or library is missing."""
    if name == AUTO:
        return "spleeter" if SPLEETER.is_there() else "light"
    if name == "htdemucs" and find_spec("onnxruntime") is None:
        raise ModelError(
            "onnxruntime is not installed; run: pip install 'stemdrop[neural]' "
            "(in containers set SEPARATOR_EXTRAS=neural and build again)"
        )
    if name in _MODELS and not _MODELS[name].is_there():
        raise ModelError(_MODELS[name].missing())
    return name


def load(name: str) -> Engine:
    """Import and return the engine `name`.

    Raises ValueError for an unknown one, and `ModelError` for a model that is missing or damaged.
    """
    known_stems(name)
    # Imported here to keep numpy out of the web process.
    if name == "spleeter":
        from separator.spleeter.engine import SpleeterEngine  # noqa: PLC0415

        return SpleeterEngine()
    if name == "htdemucs":
        from separator.htdemucs.engine import HTDemucsEngine  # noqa: PLC0415

        return HTDemucsEngine()
    from separator.light.engine import LightEngine  # noqa: PLC0415

    return LightEngine()


def known_stems(name: str) -> tuple[str, ...]:
    """Return the stems of the engine `name` without importing it. Raises ValueError for an unknown one."""
    if name not in _STEMS:
        raise ValueError(f"there is no engine {name!r}; there is: {', '.join(_STEMS)}")
    return _STEMS[name]
