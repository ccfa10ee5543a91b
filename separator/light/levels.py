"""The levels of a spectrogram as bytes.

The median of logarithms is the logarithm of the median, and bytes are compared four times as fast as floats.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from separator.audio.samples import Floats
from separator.audio.spectrum import Spectra

BINS = 1600
"""Evidence reaches up to 17 kHz, where voices end; what is above goes with what is just below."""

Codes = npt.NDArray[np.uint8]
"""Shape frames × bins, in steps of `STEP` above the logarithm of `_FLOOR`."""

Indices = npt.NDArray[np.intp]

STEP = np.float32(0.08)
"""Nepers, 0.7 dB: 256 steps reach from below the noise of 16 bits to 9 dB above full scale."""

_FLOOR = np.float32(1e-5)
_BAND_EDGES = np.unique(np.geomspace(6, BINS - 1, 47).astype(int))
_AT_ONCE = 32  # frames, so that the working set stays in the cache


@dataclass(frozen=True)
class Levels:
    """The mean magnitude of both channels, per bin and in bands (frames × bands), which show what repeats."""

    codes: Codes
    bands: Floats


def measure(spectra: Spectra) -> Levels:
    count = spectra.shape[1]
    codes = np.empty((count, BINS), np.uint8)
    bands = np.empty((count, len(_BAND_EDGES) - 1), np.float32)
    for start in range(0, count, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        sound = np.abs(spectra[:, part, :BINS]).sum(axis=0)
        sound *= np.float32(0.5)
        bands[part] = np.log1p(np.add.reduceat(sound, _BAND_EDGES, axis=1)[:, :-1] * 3)
        sound += _FLOOR
        np.log(sound, out=sound)
        sound -= np.log(_FLOOR) - STEP / 2  # rounds to the nearest step
        sound *= 1 / STEP
        codes[part] = np.minimum(sound, 255, out=sound)
    return Levels(codes, bands)


def joined(parts: list[Levels]) -> Levels:
    codes = np.concatenate([part.codes for part in parts])
    return Levels(codes, np.concatenate([part.bands for part in parts]))
