"""Short sounds in every form in which a separator may give stems."""

from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import cast

import av
import numpy as np
from av import AudioStream
from made_once import made_once
from numpy.typing import NDArray

RATE = 48_000
# Form → the file's extension, FFmpeg's container and codec.
FORMS = {
    "mp3": (".mp3", "mp3", "libmp3lame"),
    "m4a": (".m4a", "ipod", "aac"),
    "flac": (".flac", "flac", "flac"),
    "opus": (".opus", "ogg", "libopus"),
    "vorbis": (".ogg", "ogg", "vorbis"),
    "flac in ogg": (".ogg", "ogg", "flac"),
    "wav": (".wav", "wav", "pcm_s16le"),
    "aiff": (".aiff", "aiff", "pcm_s16be"),
    "aac": (".aac", "adts", "aac"),
}
# Forms that no separator is known to give.
RARE_FORMS = {
    "webm": (".webm", "webm", "libopus"),
    "caf": (".caf", "caf", "pcm_s16be"),
    "mp2": (".mp2", "mp2", "mp2"),
    "float wav": (".wav", "wav", "pcm_f32le"),
}
# The encoders' usual choices take up to four times as long.
_OPTIONS = {
    "libmp3lame": {"compression_level": "9"},
    "libopus": {"compression_level": "0"},
    "aac": {"aac_coder": "fast", "aac_tns": "0", "aac_pns": "0", "aac_is": "0", "aac_ms": "0", "b": "64k"},
}


def tone(level_db: float = -10, seconds: float = 0.5) -> NDArray[np.float32]:
    """Return one channel of a tone at `RATE` whose peaks are at `level_db` dBFS."""
    time = np.arange(int(RATE * seconds)) / RATE
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def record(
    path: Path, form: str, left: NDArray[np.float32], right: NDArray[np.float32] | None = None
) -> Path:
    """Write the channels in this form; without `right` both are the same."""
    path.write_bytes(_encoded(form, left.tobytes(), (left if right is None else right).tobytes()))
    return path


def without_numbers(channel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a copy with samples that are no numbers, infinite or huge at its start."""
    copy = channel.copy()
    copy[[100, 200, 300, 400]] = np.nan, np.inf, -np.inf, 1e30
    return copy


def damage(path: Path) -> None:
    """Overwrite bytes in the middle of a file, and add bytes that are no sound after its end."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(300)
    path.write_bytes(content + b"<html>" + bytes(2000))


@made_once
def _encoded(form: str, left: bytes, right: bytes) -> bytes:
    """Encode each sound only once, since that takes the time and many tests use the same sounds."""
    _, container_name, codec = (FORMS | RARE_FORMS)[form]
    written = BytesIO()
    with av.open(written, "w", format=container_name) as container:
        stream = cast(AudioStream, container.add_stream(codec, rate=RATE, layout="stereo"))
        # FFmpeg's own encoder of Vorbis is experimental
        stream.codec_context.options = {"strict": "experimental"} | _OPTIONS.get(codec, {})
        channels = np.stack([np.frombuffer(channel, np.float32) for channel in (left, right)])
        frame = av.AudioFrame.from_ndarray(channels, format="fltp", layout="stereo")
        # without a time base the samples that an encoder adds before the first one are not marked as such
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="stereo", rate=RATE)
        fifo = av.AudioFifo()
        for even in resampler.resample(frame):
            fifo.write(even)
        while (piece := fifo.read(stream.codec_context.frame_size or 960, partial=True)) is not None:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return written.getvalue()
