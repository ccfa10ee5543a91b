"""What an engine is: an audio file in, stem files out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from separator.audio.formats import FileFormat

REST = "rest"
"""The name under which an engine returns what is left of the song without the one stem asked for."""


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
