"""Detects silent stems: a separator makes a track for every instrument, played or not."""

from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.services.audio_decoding import decode
from worker.audio.formats import MAX_AUDIO_S, open_audio
from worker.cancellable_thread import raise_if_cancelled

# Peak of a silent stem: -60 dBFS, inaudible beside a song.
_PEAK = 0.001
# Sound is looked for at these shares of the length first: many stems begin long after their song.
_LIKELY = (0.5, 0.3, 0.7)
# The frames that are decoded at such a place: about half a second of MP3. After a seek, the first frames are
# incomplete, because they need the frames before them.
_LOOKED_AT = slice(3, 20)


def is_silent(path: Path, audio_format: AudioFormat | None) -> bool:
    """Return whether the file is quieter than -60 dBFS; false if a part cannot be decoded. Blocking."""
    if audio_format is None:
        return False
    try:
        with open_audio(path, audio_format) as container:
            if any(_is_heard_at(container, share) for share in _LIKELY):
                return False
        with open_audio(path, audio_format) as container:
            return _is_all_quiet(decode(container, may_be_damaged=False))
    except (av.error.FFmpegError, ValueError, IndexError):
        return False


def _is_heard_at(container: InputContainer, share: float) -> bool:
    with suppress(av.error.FFmpegError):  # not every place can be sought
        container.seek(round((container.duration or 0) * share))
        frames = islice(decode(container), _LOOKED_AT.start, _LOOKED_AT.stop)
        return not _is_all_quiet(frames, if_none=True)
    return False


def _is_all_quiet(frames: Iterable[av.AudioFrame], *, if_none: bool = False) -> bool:
    """Return whether all frames are quiet; False for more than a song has, `if_none` without any."""
    resampler = av.AudioResampler(format="fltp")
    decoded_s = 0.0
    for decoded in frames:
        raise_if_cancelled()
        for frame in resampler.resample(decoded):
            decoded_s += frame.samples / frame.sample_rate
            if decoded_s > MAX_AUDIO_S or not _is_quiet(frame):
                return False
    return decoded_s > 0 or if_none


def _is_quiet(frame: av.AudioFrame) -> bool:
    return bool(np.abs(frame.to_ndarray()).max(initial=0) <= _PEAK)
