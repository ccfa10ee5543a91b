"""Detects the format of a downloaded file from its content, since names from other servers may be wrong."""

from pathlib import Path

from stemdrop.domain.audio_types import SIGNATURE_BYTES, AudioFormat, format_of


def detect_format(path: Path) -> AudioFormat | None:
    """Return the file's format, `None` if it is unknown. Blocking."""
    with path.open("rb") as file:
        return format_of(file.read(SIGNATURE_BYTES))
