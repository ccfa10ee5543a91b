"""The form in which audio passes between the steps of a mixdown."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt

# 32-bit float samples: 2 channels × any number of samples.
Block = npt.NDArray[Any]

MIX_RATE = 44_100
# Full scale is 1; far louder samples are damage.
_LOUDEST = 8.0
# One second of samples. A cancelled render stops when it is done with the block at hand.
BLOCK = MIX_RATE


def repair(samples: Block) -> Block:
    """Return the samples, with those replaced that are no numbers or far too loud.

    Damaged float files have such samples: one that is no number ends the whole process in the MP3 encoder,
    and an infinite one silences the mix around it.
    """
    # no comparison with what is no number is true
    if not samples.size or (samples.min() >= -_LOUDEST and samples.max() <= _LOUDEST):
        return samples
    repaired: Block = np.clip(np.nan_to_num(samples, nan=0.0), -_LOUDEST, _LOUDEST)
    return repaired


def as_frame(block: Block, start: int) -> av.AudioFrame:
    """Return the block as a frame for FFmpeg, `start` samples after the beginning of the sound."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = MIX_RATE, start, Fraction(1, MIX_RATE)
    return frame
