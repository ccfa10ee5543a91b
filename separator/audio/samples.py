"""The form of decoded audio: float32, 2 × samples, 44.1 kHz."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SAMPLE_RATE = 44_100
