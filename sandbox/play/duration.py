"""How long a file sounds: by decoding all of it, since headers are only claims."""

from pathlib import Path

import av


def measure(path: Path) -> float:
    """Seconds of sound that decode from the file's first audio stream. Raises `av.error.FFmpegError`."""
    samples, rate = 0, 0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples += frame.samples
            rate = frame.sample_rate
    return samples / rate if rate else 0.0
