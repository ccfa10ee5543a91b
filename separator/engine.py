"""The interface of an engine: an audio file in, stem files out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from separator.audio.formats import FileFormat

REST = "rest"
"""The stem name of the song without the one requested stem."""


@dataclass(frozen=True)
class EngineRequest:
    """A request to separate `source` into one file per stem in `folder`, which exists.

    `only` asks for this stem and `REST`, None for all stems. A file of more than `max_file_bytes` becomes an
    MP3 file instead; 0 means no limit.
    """

    source: Path
    folder: Path
    only: str | None
    file_format: FileFormat
    max_duration_s: float
    max_file_bytes: int = 0


@dataclass(frozen=True)
class Separation:
    """The stem files of one song by stem name, all as long as the song."""

    files: Mapping[str, Path]
    duration_s: float


class Engine(Protocol):
    """Separates songs in a process of its own (`separator.isolation`), so it may block."""

    def separate(self, request: EngineRequest) -> Separation:
        """Separate a song. Raises `UnreadableSourceError` for a bad file; any other error is the engine's."""
        ...
