"""The features of a spectrogram from which `separator.light.masks` computes masks.

They are seven planes (frames × bins) of logarithms.
"""

from dataclasses import dataclass

import numpy as np

from separator.audio.samples import Floats
from separator.audio.spectrum import BINS, Spectra
from separator.light.median import median_of_frames, running_median

CONTEXT = 24
"""Frames on each side of a block that make its evidence independent of the block's boundaries."""

_FLOOR = np.float32(1e-6)
_BAND_EDGES = np.unique(np.geomspace(6, BINS - 1, 49).astype(int))
_NEAR = 8  # neighbouring frames are always similar, so they show no repetition
_CANDIDATES_PER_CHOICE = 4  # only the most similar one of so many neighbouring frames is used
_SIMILAR_FRAMES = 24
_TOO_SHORT_TO_REPEAT = 48  # frames


@dataclass(frozen=True)
class Block:
    """A part of a song with its surroundings.

    `spectra` (2 × frames × bins) is the part with up to `CONTEXT` frames before and after; `inner` is the
    part's position in it. `surroundings` is the magnitude (frames × bins) of a longer part, which is searched
    for repetitions; `within` is the part's position in that.
    """

    spectra: Spectra
    inner: slice
    surroundings: Floats
    within: slice


def magnitude(spectra: Spectra) -> Floats:
    """Return the mean magnitude of both channels (frames × bins)."""
    total: Floats = np.abs(spectra[0])
    total += np.abs(spectra[1])
    total *= 0.5
    return total


@dataclass(frozen=True)
class Evidence:
    """Planes (frames × bins) of the block's inner part.

    The first three are log odds, the others logarithms of a smoothed magnitude relative to the bin's own.
    """

    centre_fast: Floats
    centre_slow: Floats
    similarity: Floats
    repeating: Floats
    harmonic: Floats
    percussive: Floats
    steady: Floats


def gather(block: Block) -> Evidence:
    sound = magnitude(block.spectra)
    inner = block.inner
    level = np.log(sound[inner] + _FLOOR)

    def relative(plane: Floats) -> Floats:
        plane = np.log(plane + _FLOOR)
        plane -= level
        return plane

    fast, slow, similarity = _stereo(block.spectra, inner)
    return Evidence(
        centre_fast=_log_odds(fast),
        centre_slow=_log_odds(slow),
        similarity=_log_odds(similarity),
        repeating=relative(_repeating(block.surroundings, block.within)),
        harmonic=relative(running_median(sound, 9, axis=0)[inner]),
        percussive=relative(running_median(np.ascontiguousarray(sound[inner]), 31, axis=1)),
        steady=relative(running_median(sound, 41, axis=0)[inner]),
    )


def _log_odds(share: Floats) -> Floats:
    return np.log((share + np.float32(1e-3)) / (np.float32(1 + 1e-3) - share))


def _stereo(spectra: Spectra, inner: slice) -> tuple[Floats, Floats, Floats]:
    """Return each bin's share of power that can come from the exact centre, over 3 and over 5 frames, and the
    similarity of the channels (Avendano & Jot 2002).
    """
    left, right = spectra
    cross = left * np.conj(right)
    planes = [_squared(left), _squared(right), cross.real, cross.imag]
    fast, similarity = _centre(planes, 1, inner)
    slow, _ = _centre(planes, 2, inner)
    return fast, slow, similarity


def _centre(planes: list[Floats], reach: int, inner: slice) -> tuple[Floats, Floats]:
    """Return the centre's share of the power and the similarity of the channels.

    The share is the minimum of the MVDR power of the centre and the real cross-spectrum. `planes` are the
    power left and right, and the cross-spectrum, real and imaginary.
    """
    a, b, real, imaginary = (_box_mean(plane, reach, inner) for plane in planes)
    a += np.float32(1e-9)
    b += np.float32(1e-9)
    total = a + b
    through = np.maximum(a * b - real * real - imaginary * imaginary, 0)
    through /= np.maximum(total - 2 * real, _FLOOR * total)
    share = np.clip(np.minimum(through, np.maximum(real, 0)) * 2 / total, 0, 1)
    return share, np.clip(2 * real / total, 0, 1)


def _squared(spectra: Spectra) -> Floats:
    power: Floats = spectra.real**2
    power += spectra.imag**2
    return power


def _box_mean(plane: Floats, reach: int, inner: slice) -> Floats:
    """Return the mean over `2 * reach + 1` frames and 3 bins for the inner frames, with repeated edges."""
    start, stop = inner.start, inner.stop
    before, after = max(0, reach - start), max(0, stop + reach - len(plane))
    stretch = plane[max(0, start - reach) : stop + reach]
    if before or after:
        stretch = np.pad(stretch, ((before, after), (0, 0)), mode="edge")
    count = stop - start
    over_time = stretch[:count] + stretch[1 : count + 1]
    for shift in range(2, 2 * reach + 1):
        over_time += stretch[shift : count + shift]
    mean = over_time.copy()
    mean[:, 1:] += over_time[:, :-1]
    mean[:, :-1] += over_time[:, 1:]
    mean[:, 0] += over_time[:, 0]
    mean[:, -1] += over_time[:, -1]
    mean *= np.float32(1 / (3 * (2 * reach + 1)))
    return mean


def _repeating(sound: Floats, within: slice) -> Floats:
    """Return the median of the most similar frames of `sound` (REPET-SIM, Rafii & Pardo 2012)."""
    count = len(sound)
    asked = sound[within]
    if count < _TOO_SHORT_TO_REPEAT:
        return np.repeat(np.median(sound, axis=0, keepdims=True), len(asked), axis=0)
    bands = np.log1p(np.add.reduceat(sound, _BAND_EDGES, axis=1)[:, :-1] * 3)
    bands -= bands.mean(axis=0)
    bands /= np.linalg.norm(bands, axis=1, keepdims=True) + np.float32(1e-9)
    similarity = bands[within] @ bands.T
    positions = np.arange(within.start, within.stop)[:, None]
    similarity[np.abs(np.arange(count)[None, :] - positions) <= _NEAR] = -1

    usable = count // _CANDIDATES_PER_CHOICE * _CANDIDATES_PER_CHOICE
    groups = similarity[:, :usable].reshape(len(asked), -1, _CANDIDATES_PER_CHOICE)
    best = groups.argmax(axis=2) + np.arange(groups.shape[1]) * _CANDIDATES_PER_CHOICE
    k = min(_SIMILAR_FRAMES, max(4, count // 32))
    chosen = np.argpartition(-groups.max(axis=2), k, axis=1)[:, :k]
    background = median_of_frames(sound, np.take_along_axis(best, chosen, axis=1))
    return np.minimum(background, asked, out=background)
