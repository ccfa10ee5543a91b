"""The duration of an audio file, which is decoded completely because its header may be wrong."""

from pathlib import Path

import av


def measure(path: Path) -> float:
    """Return the seconds of the first audio stream. Raises `av.error.FFmpegError`; IndexError without one."""
    samples, rate = 0, 0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples += frame.samples
            rate = frame.sample_rate
    return samples / rate if rate else 0.0
