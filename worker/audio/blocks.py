"""The form in which audio passes between the steps of a mixdown."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt

# Stereo samples of 32 bits: 2 × any number.
Block = npt.NDArray[Any]

RATE = 44_100
# A second: cancelling takes no longer than what is done with it.
BLOCK = RATE


def as_frame(block: Block, start: int) -> av.AudioFrame:
    """Return the block as FFmpeg takes it, `start` samples after the beginning."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
    return frame
