"""Whether there is anything to hear in a stem: separators make a track of every instrument, played or not."""

from pathlib import Path

import av
import av.error

from stemdrop.domain.audio_types import AudioFormat
from worker.stems.temp_folders import go_on

# The loudest sample of a silent stem in 16 bits: -60 dBFS, which nobody hears beside a song.
_PEAK = 32
# No song is so long. A few bytes can be hours of nothing: whoever sends them is not to keep us busy.
LONGEST_S = 2 * 3600


def is_silent(path: Path, form: AudioFormat | None) -> bool:
    """Whether the whole file is quieter than -60 dBFS; what cannot be decoded is not.

    Stops at the first sample that is louder. Blocking: call it in a thread.
    """
    if form is None:
        return False
    try:
        # by its form, since other formats of FFmpeg's name further files and addresses to be opened
        with av.open(str(path), format=form.value, metadata_errors="replace") as container:
            resampler = av.AudioResampler(format="s16")
            heard_s = 0.0
            for frame in container.decode(audio=0):
                go_on()
                for even in resampler.resample(frame):
                    heard_s += even.samples / even.sample_rate
                    if heard_s > LONGEST_S or not _is_quiet(even):
                        return False
    except (av.error.FFmpegError, ValueError, IndexError):
        return False
    return heard_s > 0


def _is_quiet(frame: av.AudioFrame) -> bool:
    # a plane is longer than its samples
    samples = bytes(frame.planes[0])[: frame.samples * frame.layout.nb_channels * 2]
    if samples.count(0) == len(samples):  # as most of them are, and quickly seen
        return True
    values = memoryview(samples).cast("h")
    return max(values) <= _PEAK and min(values) >= -_PEAK
