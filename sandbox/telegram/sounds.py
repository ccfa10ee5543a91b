"""Recordings as Telegram's clients send them, and the outline of a sound that they draw."""

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.error import FFmpegError

from sandbox.telegram.errors import PersonError

# The forms in which browsers record.
RECORDED = ("audio/webm", "video/webm", "audio/mp4")
_OUTLINE_RATE_HZ = 8000
OUTLINE_LENGTH = 256


def to_voice(recording: BinaryIO) -> BytesIO:
    """Return a recording as Ogg Opus, the form of voice messages. Blocking. Raises `PersonError`."""
    voice = BytesIO()
    try:
        with av.open(recording, "r") as source, av.open(voice, "w", format="ogg") as target:
            stream = target.add_stream("libopus", rate=48000)
            stream.layout = "mono"
            resampler = av.AudioResampler("flt", "mono", 48000)
            for frame in source.decode(audio=0):
                frame.pts = None
                for part in resampler.resample(frame):
                    target.mux(stream.encode(part))
            target.mux(stream.encode(None))
    except (FFmpegError, IndexError, ValueError) as error:
        raise PersonError("the recording holds no sound") from error
    voice.seek(0)
    return voice


def outline(path: Path) -> list[int]:
    """Return the loudness of a sound over time, up to 255; [] without sound. Blocking."""
    parts: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            resampler = av.AudioResampler("flt", "mono", _OUTLINE_RATE_HZ)
            for frame in container.decode(audio=0):
                frame.pts = None
                parts += [np.abs(part.to_ndarray()[0]) for part in resampler.resample(frame)]
    except (FFmpegError, IndexError, ValueError):
        pass  # what decoded until here is drawn
    if not parts:
        return []
    bins = np.array_split(np.concatenate(parts), OUTLINE_LENGTH)
    loudness = np.array([float(np.sqrt(np.mean(part**2))) if len(part) else 0.0 for part in bins])
    loudest = max(float(loudness.max()), 1e-4)  # silence stays flat
    return [int(value) for value in np.minimum(255, loudness / loudest * 255)]
