"""The features of a spectrogram from which `separator.light.masks` computes masks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from separator.audio.samples import Floats
from separator.audio.spectrum import Spectra
from separator.light.levels import BINS, Codes, Indices, Levels
from separator.light.median import median_of_bins, median_of_frames

CONTEXT = 2
"""Frames on each side of a block that its evidence of the stereo picture needs."""

_FLOOR = np.float32(1e-6)
_AT_ONCE = 32  # frames, so that the working set stays in the cache
# Every second frame or bin is enough in the wide ranges, since neighbours overlap.
_HARMONIC = np.arange(-4, 5)  # frames
_STEADY = np.arange(-20, 21, 2)
_PERCUSSIVE = range(-14, 15, 2)  # bins
_NEAR = 8  # neighbouring frames are always similar, so they show no repetition
_CANDIDATES_PER_CHOICE = 4  # only the most similar one of so many neighbouring frames is used
_SIMILAR_FRAMES = 25
_TOO_SHORT_TO_REPEAT = 48  # frames


@dataclass(frozen=True)
class Block:
    """A part of a song with its surroundings.

    `spectra` (2 × frames × bins) is the part with `CONTEXT` frames before and after. `levels` are those of a
    longer part, which is searched for repetitions; `within` is the part's position in it.
    """

    spectra: Spectra
    levels: Levels
    within: slice


PLANES = (
    "centre, fast",
    "centre, slow",
    "similarity",
    "level",
    "repeating",
    "harmonic",
    "percussive",
    "steady",
)
"""The planes of evidence. The first three are log odds, the others codes of levels."""


def gather(block: Block) -> Iterator[Floats]:
    """Yield the evidence of some frames at a time, as `PLANES` × frames × bins."""
    codes = _codes(block.levels, block.within)
    for start in range(0, len(codes[0]), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        stereo = _stereo(block.spectra[:, start : start + _AT_ONCE + 2 * CONTEXT, :BINS])
        yield np.stack([*stereo, *(plane[part] for plane in codes)], dtype=np.float32)


def _codes(levels: Levels, within: slice) -> list[Codes]:
    own = levels.codes[within]
    frames = np.arange(within.start, within.stop)[:, None]

    def running_median(offsets: Indices) -> Codes:
        return median_of_frames(levels.codes, np.clip(frames + offsets, 0, len(levels.codes) - 1))

    return [
        own,
        np.minimum(own, _repeating(levels, within)),
        running_median(_HARMONIC),
        median_of_bins(own, _PERCUSSIVE),
        running_median(_STEADY),
    ]


def _stereo(spectra: Spectra) -> list[Floats]:
    """Return each bin's share of power that can come from the exact centre, over 3 and over 5 frames, and the
    similarity of the channels (Avendano & Jot 2002), as log odds.
    """
    left, right = spectra
    cross = left * np.conj(right)
    powers = _squared(left), _squared(right)
    planes = np.empty((4, *left.shape), np.float32)
    np.add(*powers, out=planes[0])
    np.subtract(*powers, out=planes[1])
    np.multiply(cross.real, 2, out=planes[2])
    np.multiply(cross.imag, 2, out=planes[3])
    sums = _over_bins(planes)
    short = sums[:, 1:-3] + sums[:, 2:-2]
    short += sums[:, 3:-1]
    long = short + sums[:, :-4]
    long += sums[:, 4:]
    fast, similarity = _centre(short)
    slow, _ = _centre(long)
    return [_log_odds(fast), _log_odds(slow), _log_odds(similarity)]


def _centre(planes: Floats) -> tuple[Floats, Floats]:
    """Return the centre's share of the power and the similarity of the channels.

    The share is the minimum of the MVDR power of the centre and the real cross-spectrum. `planes`, which are
    overwritten, are the sum and the difference of the channels' powers, and twice the cross-spectrum, real
    and imaginary.
    """
    total, difference, real, imaginary = planes
    total += np.float32(1e-8)
    through = total * total
    for plane in (difference, real, imaginary):
        through -= plane * plane
    through /= 2 * np.maximum(total - real, _FLOOR * total)
    similarity = np.clip(real / total, 0, 1)
    through /= total
    return np.clip(through, 0, similarity), similarity


def _squared(spectra: Spectra) -> Floats:
    power: Floats = spectra.real**2
    power += spectra.imag**2
    return power


def _over_bins(planes: Floats) -> Floats:
    """Return the sums over 3 bins, with repeated edges."""
    sums = planes.copy()
    sums[..., 1:] += planes[..., :-1]
    sums[..., :-1] += planes[..., 1:]
    sums[..., 0] += planes[..., 0]
    sums[..., -1] += planes[..., -1]
    return sums


def _log_odds(share: Floats) -> Floats:
    odds = share + np.float32(1e-3)
    odds /= np.float32(1 + 1e-3) - share
    np.log(odds, out=odds)
    return odds


def _repeating(levels: Levels, within: slice) -> Codes:
    """Return, for each frame, the median of the most similar ones (REPET-SIM, Rafii & Pardo 2012)."""
    count, asked = len(levels.codes), within.stop - within.start
    if count < _TOO_SHORT_TO_REPEAT:
        everything = np.arange(count - 1 + count % 2)[None, :]
        return np.repeat(median_of_frames(levels.codes, everything), asked, axis=0)
    bands = levels.bands - levels.bands.mean(axis=0)
    bands /= np.linalg.norm(bands, axis=1, keepdims=True) + np.float32(1e-9)
    similarity = bands[within] @ bands.T
    positions = np.arange(within.start, within.stop)[:, None]
    similarity[np.abs(np.arange(count)[None, :] - positions) <= _NEAR] = -1

    usable = count // _CANDIDATES_PER_CHOICE * _CANDIDATES_PER_CHOICE
    groups = similarity[:, :usable].reshape(asked, -1, _CANDIDATES_PER_CHOICE)
    best = groups.argmax(axis=2) + np.arange(groups.shape[1]) * _CANDIDATES_PER_CHOICE
    k = min(_SIMILAR_FRAMES, max(4, count // 32) | 1)
    chosen = np.argpartition(-groups.max(axis=2), k, axis=1)[:, :k]
    return median_of_frames(levels.codes, np.take_along_axis(best, chosen, axis=1))
