"""A limiter, which turns the sound down smoothly around each peak, so that no sample is above a ceiling."""

from collections.abc import Iterator

import numpy as np

from worker.audio.blocks import Block

# One gain is computed for each group of samples, 1.5 ms long.
_GROUP = 64
# A group gets the lowest gain of so many groups before and after it (23 ms), so that bass is not distorted.
_REACH = 16
# The gains are then smoothed over about as many groups on each side, with a window in the form of a bell.
_BELL = np.hanning(2 * _REACH + 1)[1:-1] / _REACH
# So many groups before and after a group influence its gain.
_CONTEXT = 2 * _REACH
_MARGIN = _CONTEXT * _GROUP


def limit(blocks: Iterator[Block], ceiling: float) -> Iterator[Block]:
    """Yield the sound with no sample above the ceiling, changed only near peaks above the ceiling."""
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
    """Return the samples (whole groups) limited, without the margins on both sides."""
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
