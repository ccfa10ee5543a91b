"""Fast medians of spectrograms.

Sorting networks exchange whole rows of values, which numpy does for 64 bytes at once.
"""

from functools import cache

import numpy as np

from separator.light.levels import Codes, Indices

_AT_ONCE = 16  # frames per step, so that the working set stays in the cache


def median_of_frames(sound: Codes, chosen: Indices) -> Codes:
    """Return the median per bin of each row of `chosen` (frames × k indices into `sound`; k is odd)."""
    median = np.empty((len(chosen), sound.shape[1]), sound.dtype)
    for start in range(0, len(chosen), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        median[part] = _median(list(sound[chosen[part].T]))
    return median


def median_of_bins(sound: Codes, offsets: range) -> Codes:
    """Return the median of each bin's neighbours at `offsets` (-n … n, odd in number), edges repeated."""
    bins, reach = sound.shape[1], offsets[-1]
    padded = np.pad(sound, ((0, 0), (reach, reach)), mode="edge")
    median = np.empty_like(sound)
    for start in range(0, len(sound), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        firsts = (reach + offset for offset in offsets)
        median[part] = _median([padded[part, first : first + bins].copy() for first in firsts])
    return median


def _median(rows: list[Codes]) -> Codes:
    """Return the elementwise median of `rows`, arrays of one shape, which are overwritten."""
    spare = np.empty_like(rows[0])
    for i, j in _network(len(rows)):
        np.minimum(rows[i], rows[j], out=spare)
        np.maximum(rows[i], rows[j], out=rows[j])
        rows[i], spare = spare, rows[i]
    return rows[len(rows) // 2]


@cache
def _network(k: int) -> list[tuple[int, int]]:
    """Return the exchanges that bring the middle of k rows to its place.

    They are Batcher's merge exchange (Knuth, volume 3, algorithm 5.2.2M) without those that only sort the
    ends.
    """
    exchanges = []
    top = 1 << max((k - 1).bit_length() - 1, 0)
    step = top
    while step > 0:
        offset, remainder, distance = top, 0, step
        while True:
            exchanges += [(i, i + distance) for i in range(k - distance) if i & step == remainder]
            if offset == step:
                break
            distance, remainder, offset = offset - step, step, offset >> 1
        step >>= 1
    needed = {k // 2}
    kept = []
    for pair in reversed(exchanges):
        if needed.intersection(pair):
            kept.append(pair)
            needed.update(pair)
    return kept[::-1]
