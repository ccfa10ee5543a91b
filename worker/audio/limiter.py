"""A limiter: keeps peaks below a ceiling by turning the sound down around them, smoothly and in advance."""

from collections.abc import Iterator

import numpy as np

from worker.audio.blocks import Block

# Gains are found for groups of samples: 1.5 ms.
_GROUP = 64
# A peak turns as many groups before and after it down as far as itself: bass is not distorted. 23 ms.
_REACH = 16
# Going down and back takes as long again on each side, in the form of a bell.
_BELL = np.hanning(2 * _REACH + 1)[1:-1] / _REACH
# How many groups before and after a group have a part in its gain.
_CONTEXT = 2 * _REACH
_MARGIN = _CONTEXT * _GROUP


def limit(blocks: Iterator[Block], ceiling: float) -> Iterator[Block]:
    """Yield the same sound with no sample above the ceiling; what is not near a peak above it is the same."""
    waiting = np.zeros((2, _MARGIN), np.float32)
    for block in blocks:
        waiting = np.concatenate((waiting, block), axis=1)
        whole = waiting.shape[1] // _GROUP * _GROUP
        if whole > 2 * _MARGIN:
            yield _limited(waiting[:, :whole], ceiling)
            waiting = waiting[:, whole - 2 * _MARGIN :]
    rest = waiting.shape[1] - _MARGIN
    if rest:
        after = _MARGIN - waiting.shape[1] % -_GROUP
        yield _limited(np.pad(waiting, ((0, 0), (0, after))), ceiling)[:, :rest]


def _limited(samples: Block, ceiling: float) -> Block:
    """Return the samples, which are whole groups, without the margins on both sides."""
    inner = samples[:, _MARGIN:-_MARGIN]
    peaks = np.abs(samples).max(axis=0).reshape(-1, _GROUP).max(axis=1)
    if peaks.max() <= ceiling:
        return inner
    gains = ceiling / np.maximum(peaks, ceiling)
    lowest = np.lib.stride_tricks.sliding_window_view(gains, 2 * _REACH + 1).min(axis=1)
    # one more group on each side: gains are interpolated between the middles of groups
    smooth = np.convolve(lowest, _BELL, "valid")
    at = (np.arange(inner.shape[1]) + 0.5) / _GROUP + 0.5
    return (inner * np.interp(at, np.arange(smooth.size), smooth)).astype(np.float32)
