"""Soft masks from evidence: a softmax per bin, with constants fitted on songs with known stems."""

from collections.abc import Mapping, Sequence

import numpy as np

from separator.audio.samples import Floats
from separator.audio.spectrum import FREQUENCIES
from separator.light import STEMS
from separator.light.evidence import PLANES
from separator.light.levels import BINS, STEP

_TOP = 100  # bins just below those without evidence
_LOW_BINS = 256  # up to 2.8 kHz, where `_LOW_CURVE` has fallen to nothing

# One row per plane of evidence, one column per stem, in the order of `STEMS`.
_PLANE_WEIGHTS = {
    "centre, fast": (0.027, -0.006, 0.012, -0.013),
    "centre, slow": (0.172, 0.085, -0.044, -0.391),
    "similarity": (0.048, 0.189, 0.216, -0.541),
    # relative to the bin's own level
    "repeating": (-0.780, 1.151, 0.986, 0.351),
    "harmonic": (0.781, -1.010, 0.863, -0.369),
    "percussive": (0.090, 0.396, -0.073, -0.286),
    "steady": (-0.501, -0.797, 0.862, 0.825),
}
_LOG_FREQUENCY = (-0.128, 0.478, -0.013, -0.196)
_LOG_FREQUENCY_SQUARED = (-0.114, 0.500, 0.332, -0.359)
_LOW = (-2.582, 3.145, 0.390, 0.578)
_MID = (1.167, -0.175, 1.084, -0.930)
_LOW_HARMONIC_OVER_PERCUSSIVE = (-0.950, 0.749, 0.673, -0.937)
_LOW_SIMILARITY = (0.047, -0.067, 0.456, 0.580)
_BIAS = (-0.571, -1.390, -1.030, 2.849)


def masks(evidence: Floats, stems: Sequence[str]) -> Floats:
    """Return the shares of `stems` in every bin of the spectra (stems × frames × bins).

    `evidence` is `PLANES` × frames × fewer bins. The shares of all stems add up to 1.
    """
    scores = _weighted(_WEIGHT, evidence)
    scores[:, :, :_LOW_BINS] += _weighted(_LOW_WEIGHT, evidence[:, :, :_LOW_BINS] * _LOW_CURVE[:_LOW_BINS])
    scores += _OFFSET
    scores -= scores.max(axis=0)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=0)
    top = scores[:, :, -_TOP:].mean(axis=2)
    top[0] = 0  # voices end below these bins
    top /= top.sum(axis=0)
    chosen = [STEMS.index(stem) for stem in stems]
    shares = np.empty((len(stems), evidence.shape[1], len(FREQUENCIES)), np.float32)
    shares[:, :, : scores.shape[2]] = scores[chosen]
    shares[:, :, scores.shape[2] :] = top[chosen, :, None]
    return shares


def _weighted(weights: Floats, evidence: Floats) -> Floats:
    scores: Floats = weights @ evidence.reshape(len(PLANES), -1)
    return scores.reshape(-1, *evidence.shape[1:])


def _weights(columns: Mapping[str, tuple[float, ...]]) -> Floats:
    """Return the weights of the planes (stems × `PLANES`), where levels are relative to the bin's own."""
    weights = np.zeros((len(STEMS), len(PLANES)))
    for plane, column in columns.items():
        weights[:, PLANES.index(plane)] = column
    own = PLANES.index("level")
    weights[:, own:] *= STEP
    weights[:, own] = -weights[:, own:].sum(axis=1)
    return weights.astype(np.float32)


def _offset() -> Floats:
    """Return the constant part of the scores (stems × 1 × bins)."""
    log_frequency = np.log(np.maximum(FREQUENCIES[:BINS], 20) / 1000)
    curves = [np.ones_like(log_frequency), log_frequency, log_frequency**2, _LOW_CURVE, _MID_CURVE]
    columns = [_BIAS, _LOG_FREQUENCY, _LOG_FREQUENCY_SQUARED, _LOW, _MID]
    offset: Floats = (np.array(columns).T @ np.array(curves)).astype(np.float32)
    return offset[:, None]


_LOW_CURVE: Floats = (1 / (1 + (FREQUENCIES[:BINS] / 200) ** 4)).astype(np.float32)
_MID_CURVE: Floats = (1 / (1 + (FREQUENCIES[:BINS] / 600) ** 4)).astype(np.float32) - _LOW_CURVE
_OFFSET = _offset()
_WEIGHT = _weights(_PLANE_WEIGHTS)
_LOW_WEIGHT = _weights(
    {
        "similarity": _LOW_SIMILARITY,
        "harmonic": _LOW_HARMONIC_OVER_PERCUSSIVE,
        "percussive": tuple(-weight for weight in _LOW_HARMONIC_OVER_PERCUSSIVE),
    }
)
