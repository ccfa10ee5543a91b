"""What an engine is: an audio file in, stem files out. Which one is at work is a setting.

Errors::

    EngineError            the engine failed
    └── UnreadableSourceError   the file is at fault: no audio, damaged, too long
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from separator import light
from separator.audio.formats import FileFormat

REST = "rest"
"""The name under which an engine returns what is left of the song without the one stem asked for."""


class EngineError(Exception):
    """An engine could not do its work; the text may be shown to a person."""


class UnreadableSourceError(EngineError):
    """The source is no audio, or none that this service takes."""


@dataclass(frozen=True)
class Order:
    """What an engine is asked for.

    `only` names one stem: the result is this stem and `REST`. `None`: all stems that the engine knows.
    Files are written to `folder`, which exists.
    """

    source: Path
    folder: Path
    only: str | None
    file_format: FileFormat
    max_duration_s: float


@dataclass(frozen=True)
class Separation:
    """The files made, by stem; all have the length of the song."""

    files: Mapping[str, Path]
    duration_s: float


class Engine(Protocol):
    """Separates songs. Runs in a process of its own (`separator.isolation`), so it may block and use all
    cores.
    """

    stems: tuple[str, ...]
    """Names of the stems it knows, of `vocals`, `drums`, `bass`, `other` and the like."""

    def separate(self, order: Order) -> Separation:
        """Raises `UnreadableSourceError` when the file is at fault; any other exception is the engine's own
        failure.
        """
        ...


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


_STEMS = {"light": light.STEMS}


def _unknown(name: str) -> str:
    return f"there is no engine {name!r}; there is: {', '.join(_STEMS)}"
