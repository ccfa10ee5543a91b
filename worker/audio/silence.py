"""Detects silent stems: a separator makes a track for every instrument, played or not."""

from pathlib import Path

import av
import av.error

from stemdrop.domain.audio_types import AudioFormat
from worker.audio.formats import open_audio
from worker.cancellable_thread import raise_if_cancelled

# Peak of a silent stem in 16-bit samples: -60 dBFS, inaudible beside a song.
_PEAK = 32
# Longer than any song: a few bytes can decode to hours of silence and keep a worker busy.
MAX_AUDIO_S = 2 * 3600


def is_silent(path: Path, audio_format: AudioFormat | None) -> bool:
    """Return whether the file is quieter than -60 dBFS; false if it cannot be decoded. Blocking."""
    if audio_format is None:
        return False
    try:
        with open_audio(path, audio_format) as container:
            resampler = av.AudioResampler(format="s16")
            decoded_s = 0.0
            for decoded in container.decode(audio=0):
                raise_if_cancelled()
                for frame in resampler.resample(decoded):
                    decoded_s += frame.samples / frame.sample_rate
                    if decoded_s > MAX_AUDIO_S or not _is_quiet(frame):
                        return False
    except (av.error.FFmpegError, ValueError, IndexError):
        return False
    return decoded_s > 0


def _is_quiet(frame: av.AudioFrame) -> bool:
    # a plane is longer than its samples
    samples = bytes(frame.planes[0])[: frame.samples * frame.layout.nb_channels * 2]
    if samples.count(0) == len(samples):  # true for most of them, and quick
        return True
    values = memoryview(samples).cast("h")
    return max(values) <= _PEAK and min(values) >= -_PEAK
