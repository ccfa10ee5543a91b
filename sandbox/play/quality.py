"""How close stems of the bundled song are to its true stems, which the source checkout contains."""

from pathlib import Path

import numpy as np

from separator.audio.reader import Reader
from separator.audio.samples import Floats

_TRUE_STEMS = Path(__file__).parents[2] / "tests" / "media"
_PARTS = ("vocals", "drums", "bass", "other")
_MAX_DURATION_S = 600


def sdr_db(stem: str, file: Path) -> float | None:
    """Return the signal-to-distortion ratio of `file` in dB, the higher the better; above 0 is useful.

    `stem` is one of the song's four parts or `instrumental`. None where the true stems are missing.
    """
    parts = [part for part in _PARTS if part == stem or (stem == "instrumental" and part != "vocals")]
    files = [_TRUE_STEMS / f"demo-song.{part}.flac" for part in parts]
    if not files or not all(path.is_file() for path in files):
        return None
    estimate = _decode(file)
    true = np.zeros_like(estimate, np.float64)
    for path in files:
        sound = _decode(path, estimate.shape[1])
        true[:, : sound.shape[1]] += sound
    error = np.sum((true - estimate) ** 2) + 1e-9  # no division by zero for a perfect estimate
    return float(10 * np.log10(np.sum(true**2) / error))


def _decode(file: Path, most: int | None = None) -> Floats:
    """Decode a file, or only so many samples of it."""
    blocks, samples = [], 0
    with Reader(file, _MAX_DURATION_S) as reader:
        for block in reader.blocks():
            blocks.append(block)
            samples += block.shape[1]
            if most is not None and samples >= most:
                break
    return np.concatenate(blocks, axis=1)[:, :most]
