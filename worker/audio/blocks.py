"""The form in which audio passes between the steps of a mixdown."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt

# 32-bit float samples: 2 channels × any number of samples.
Block = npt.NDArray[Any]

MIX_RATE = 44_100
# One second of samples. A cancelled render stops when it is done with the block at hand.
BLOCK = MIX_RATE


def as_frame(block: Block, start: int) -> av.AudioFrame:
    """Return the block as a frame for FFmpeg, `start` samples after the beginning of the sound."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = MIX_RATE, start, Fraction(1, MIX_RATE)
    return frame
