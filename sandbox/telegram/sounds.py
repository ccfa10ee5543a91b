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
_MOST_BLOCKS, _MOST_WAITING = 64 * OUTLINE_LENGTH, 2**16


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
    """Return the loudness over time, `OUTLINE_LENGTH` values up to 255; [] without sound. Blocking."""
    sums = _BlockSums()
    try:
        with av.open(str(path)) as container:
            resampler = av.AudioResampler("flt", "mono", _OUTLINE_RATE_HZ)
            for frame in container.decode(audio=0):
                frame.pts = None
                for part in resampler.resample(frame):
                    sums.add(part.to_ndarray()[0])
    except (FFmpegError, IndexError, ValueError):
        pass  # what decoded until here is drawn
    blocks = sums.finish()
    if not len(blocks):
        return []
    loudness = np.sqrt([part.mean() if len(part) else 0.0 for part in np.array_split(blocks, OUTLINE_LENGTH)])
    loudest = max(float(loudness.max()), 1e-4)  # silence stays flat
    return [int(value) for value in np.minimum(255, loudness / loudest * 255)]


class _BlockSums:
    """The mean squares of equally long blocks of samples, so that a long sound is never whole in memory.

    When there are too many blocks, each two neighbours become one; a last odd block is dropped.
    """

    def __init__(self) -> None:
        self._blocks = np.empty(0)
        self._length = 8  # samples per block: a sound of a quarter of a second fills the outline
        self._waiting: list[np.ndarray] = []
        self._waiting_length = 0

    def add(self, samples: np.ndarray) -> None:
        self._waiting.append(samples)
        self._waiting_length += len(samples)
        if self._waiting_length >= _MOST_WAITING:
            self._sum_up()

    def _sum_up(self) -> None:
        samples = np.concatenate(self._waiting)
        whole = len(samples) // self._length * self._length
        means = (samples[:whole].reshape(-1, self._length).astype(float) ** 2).mean(axis=1)
        self._blocks = np.concatenate([self._blocks, means])
        while len(self._blocks) >= _MOST_BLOCKS:
            self._blocks = self._blocks[: len(self._blocks) // 2 * 2].reshape(-1, 2).mean(axis=1)
            self._length *= 2
        self._waiting, self._waiting_length = [samples[whole:]], len(samples) - whole

    def finish(self) -> np.ndarray:
        """Return the mean square of each block; samples that fill no block are left out."""
        if self._waiting:
            self._sum_up()
        return self._blocks
