"""Soft masks from evidence: a softmax per bin, with constants fitted on songs with known stems."""

from dataclasses import fields

import numpy as np
import numpy.typing as npt

from separator.audio.samples import Floats
from separator.audio.spectrum import FREQUENCIES
from separator.light import STEMS
from separator.light.evidence import Evidence

_AT_ONCE = 32  # frames
_VOICE_ENDS_AT_BIN = 1600  # about 17 kHz

# One row per plane of `Evidence`, in its order; one column per stem, in the order of `STEMS`.
_PLANES = np.array(
    [
        (0.027, -0.006, 0.012, -0.013),
        (0.172, 0.085, -0.044, -0.391),
        (0.048, 0.189, 0.216, -0.541),
        (-0.780, 1.151, 0.986, 0.351),
        (0.781, -1.010, 0.863, -0.369),
        (0.090, 0.396, -0.073, -0.286),
        (-0.501, -0.797, 0.862, 0.825),
    ],
    np.float32,
)
_SIMILARITY, _HARMONIC, _PERCUSSIVE = 2, 4, 5
_LOG_FREQUENCY = (-0.128, 0.478, -0.013, -0.196)
_LOG_FREQUENCY_SQUARED = (-0.114, 0.500, 0.332, -0.359)
_LOW = (-2.582, 3.145, 0.390, 0.578)
_MID = (1.167, -0.175, 1.084, -0.930)
_LOW_HARMONIC_OVER_PERCUSSIVE = (-0.950, 0.749, 0.673, -0.937)
_LOW_SIMILARITY = (0.047, -0.067, 0.456, 0.580)
_BIAS = (-0.571, -1.390, -1.030, 2.849)


def masks(evidence: Evidence) -> Floats:
    """Return each stem's share of every bin (stems as in `STEMS` × frames × bins); the shares add up to 1."""
    planes = [getattr(evidence, field.name) for field in fields(evidence)]
    frames, bins = planes[0].shape
    shares = np.empty((len(STEMS), frames, bins), np.float32)
    product = np.empty((_AT_ONCE, bins), np.float32)
    for start in range(0, frames, _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, frames))
        scratch = product[: part.stop - part.start]
        for stem, (offset, weights) in enumerate(zip(_OFFSET, _WEIGHT, strict=True)):
            score = shares[stem, part]
            score[:] = offset
            for plane, weight in zip(planes, weights, strict=True):
                np.multiply(plane[part], weight, out=scratch)
                score += scratch
        _softmax(shares[:, part])
    return shares


def _softmax(scores: Floats) -> None:
    """Apply the softmax in place over the first axis."""
    scores -= scores.max(axis=0)
    np.exp(scores, out=scores)
    scores[0, :, _VOICE_ENDS_AT_BIN:] = 0
    scores /= scores.sum(axis=0)


def _weights() -> tuple[Floats, Floats]:
    """Return the weights of the planes (stems × planes × bins) and the constant offsets (stems × bins).

    Terms that depend on the frequency only, and products of a plane with such a curve, are folded into these
    constants instead of being computed for every frame.
    """

    def over_bins(column: tuple[float, ...], curve: Floats) -> npt.NDArray[np.float64]:
        return np.outer(column, curve)

    low: Floats = (1 / (1 + (FREQUENCIES / 200) ** 4)).astype(np.float32)
    mid: Floats = (1 / (1 + (FREQUENCIES / 600) ** 4)).astype(np.float32) - low
    log_frequency: Floats = np.log(np.maximum(FREQUENCIES, 20) / 1000)
    weight = np.repeat(_PLANES.T[:, :, None].astype(np.float64), len(FREQUENCIES), axis=2)
    weight[:, _SIMILARITY] += over_bins(_LOW_SIMILARITY, low)
    weight[:, _HARMONIC] += over_bins(_LOW_HARMONIC_OVER_PERCUSSIVE, low)
    weight[:, _PERCUSSIVE] -= over_bins(_LOW_HARMONIC_OVER_PERCUSSIVE, low)
    offset = (
        np.array(_BIAS)[:, None]
        + over_bins(_LOG_FREQUENCY, log_frequency)
        + over_bins(_LOG_FREQUENCY_SQUARED, log_frequency**2)
        + over_bins(_LOW, low)
        + over_bins(_MID, mid)
    )
    return weight.astype(np.float32), offset.astype(np.float32)


_WEIGHT, _OFFSET = _weights()
