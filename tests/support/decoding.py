"""Decodes audio files to samples."""

from io import BytesIO
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def decode(source: Path | bytes) -> NDArray[np.float32]:
    """Return all samples (channels × samples) at the file's own rate."""
    with av.open(BytesIO(source) if isinstance(source, bytes) else str(source), "r") as container:
        resampler = av.AudioResampler(format="fltp")
        frames = [even for frame in container.decode(audio=0) for even in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
