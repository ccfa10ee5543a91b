"""`MixInput`: a stem from which a remix is made."""

from dataclasses import dataclass
from pathlib import Path

from stemdrop.domain.audio_types import AudioFormat


@dataclass(frozen=True, slots=True)
class MixInput:
    """A stem's file and its gain; a stem with the gain `recipes.OFF_DB` is not decoded at all."""

    path: Path
    audio_format: AudioFormat
    gain_db: int = 0
