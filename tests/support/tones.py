"""Small real audio for tests."""

import io
import struct
from pathlib import Path

import av
import numpy as np
from made_once import made_once


def mp3(path: Path, seconds: float = 1.0, title: str = "", rate: int = 44_100) -> bytes:
    """Write a tone as MP3 (stereo, `rate` in Hz) to `path` and return it. A `title` makes it another song."""
    with (
        av.open(io.BytesIO(_tone(seconds, rate)), "r") as tone,
        av.open(str(path), "w", format="mp3") as container,
    ):
        if title:
            container.metadata["title"] = title
        stream = container.add_stream_from_template(tone.streams.audio[0])
        for packet in tone.demux(audio=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    return path.read_bytes()


def beginning_with_tags(song: Path, target: Path, seconds: float) -> Path:
    """Copy the first seconds of an MP3 with its tags."""
    with av.open(str(song)) as source, av.open(str(target), "w") as out:
        out.metadata.update(source.metadata)
        stream = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size and packet.pts is not None and packet.pts * packet.time_base < seconds:
                packet.stream = stream
                out.mux(packet)
    return target


@made_once
def _tone(seconds: float, rate: int) -> bytes:
    """Encode each sound only once, since that takes the time."""
    time = np.arange(int(rate * seconds)) / rate
    samples = (0.3 * np.sin(2 * np.pi * 440 * time)).astype("float32")
    encoded = io.BytesIO()
    with av.open(encoded, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.stack([samples, samples]), format="fltp", layout="stereo")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return encoded.getvalue()


def of_unknown_codec() -> bytes:
    """Return a WAV file in a codec that no decoder knows."""
    header = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 1036, b"WAVE", b"fmt ", 16, 0x9999, 2, 44_100, 176_400, 4, 16
    )
    return header + struct.pack("<4sI", b"data", 1000) + bytes(1000)
