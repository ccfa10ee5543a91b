"""Real recordings of every form that a user may send, one second long by default."""

import tempfile
from pathlib import Path
from typing import cast

import av
import numpy as np
from av import AudioStream
from made_once import made_once

_CODECS = {
    ".mp3": "libmp3lame",
    ".m4a": "aac",
    ".wav": "pcm_s16le",
    ".flac": "flac",
    ".ogg": "libopus",
    ".opus": "libopus",
    ".mp4": "aac",
    ".webm": "libopus",
    ".mkv": "aac",
}
_RATE = 48_000
_FRAME = 960


def record(path: Path, *, seconds: float = 1.0, sound: bool = True, picture: bool = False) -> Path:
    """Write a recording in the form of the path's extension: a tone, moving pictures, or both."""
    path.write_bytes(_encoded(path.suffix, seconds, sound=sound, picture=picture))
    return path


@made_once
def _encoded(extension: str, seconds: float, *, sound: bool, picture: bool) -> bytes:
    """Encode each sound only once, since that takes the time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"recording{extension}")
        _encode(path, seconds, sound=sound, picture=picture)
        return path.read_bytes()


def _encode(path: Path, seconds: float, *, sound: bool, picture: bool) -> None:
    with av.open(str(path), "w") as container:
        voice = cast(AudioStream, container.add_stream(_CODECS[path.suffix], rate=_RATE)) if sound else None
        if voice is not None:
            voice.layout = "stereo"
        film = container.add_stream("mpeg4", rate=10) if picture else None
        if film is not None:
            film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
            for _ in range(int(10 * seconds)):
                frame = av.VideoFrame(64, 48, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes(plane.buffer_size))
                container.mux(film.encode(frame))
            container.mux(film.encode(None))
        if voice is not None:
            fifo = av.AudioFifo()
            resampler = av.AudioResampler(format=voice.codec_context.format, layout="stereo", rate=_RATE)
            for part in resampler.resample(_tone(seconds)):
                fifo.write(part)
            size = voice.codec_context.frame_size or _FRAME
            while (piece := fifo.read(size, partial=True)) is not None:
                container.mux(voice.encode(piece))
            container.mux(voice.encode(None))


def _tone(seconds: float) -> av.AudioFrame:
    time = np.arange(int(_RATE * seconds)) / _RATE
    tone = (0.3 * np.sin(2 * np.pi * 440 * time)).astype("float32")
    frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
    frame.sample_rate = _RATE
    frame.pts = 0
    return frame
