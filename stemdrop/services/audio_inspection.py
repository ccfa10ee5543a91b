"""Inspects audio files, and imports FFmpeg's libraries, which take 19 MB, only for the first file."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stemdrop.services.audio_files import AudioContent


def inspect_audio(path: Path) -> "AudioContent | None":
    """Return the content of a file by its first track with sound; `None` if there is none. Blocking."""
    from stemdrop.services.audio_files import inspect  # noqa: PLC0415

    return inspect(path)
