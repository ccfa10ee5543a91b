"""The form in which audio passes between the steps of a mixdown."""

from typing import Any

import numpy.typing as npt

# Stereo samples of 32 bits: 2 × any number.
Block = npt.NDArray[Any]

RATE = 44_100
# A second: cancelling takes no longer than what is done with it.
BLOCK = RATE
