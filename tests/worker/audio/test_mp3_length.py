"""The length that an MP3 counts itself is believed where it can be true."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from tones import mp3

from stemdrop.services.audio_files import inspect
from worker.audio.mp3_length import counted_length


def encoded(path: Path, hertz: int, layout: str) -> Path:
    """An MP3 of one second of silence, whose encoder counts."""
    with av.open(str(path), "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=hertz, layout=layout)
        frame = av.AudioFrame(format="fltp", layout=layout, samples=hertz)
        frame.sample_rate = hertz
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("layout", ["stereo", "mono"])
@pytest.mark.parametrize("hertz", [48_000, 32_000, 22_050, 8_000])
def test_the_count_is_the_length_of_all_packets(tmp_path: Path, hertz: int, layout: str) -> None:
    path = encoded(tmp_path / "a.mp3", hertz, layout)
    content = inspect(path)
    assert content
    assert counted_length(path) == pytest.approx(content.duration_s)


def with_frames(number: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        at = data.index(b"Info") + 8
        return data[:at] + struct.pack(">I", number) + data[at + 4 :]

    return change


def test_an_old_tag_at_the_end_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    data = mp3(path, 2)
    length = counted_length(path)
    path.write_bytes(data + b"TAG" + bytes(125))
    assert counted_length(path) == length == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + data,
        lambda data: data.replace(b"Info", b"Nope"),
        lambda data: data[: data.index(b"Info") + 9],
        lambda data: data[:3],
        lambda data: b"",
        with_frames(0),
        with_frames(1),
        with_frames(2**31),
    ],
)
def test_what_cannot_be_true_is_not_believed(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.mp3"
    data = mp3(path, 2)
    assert change(data) != data
    path.write_bytes(change(data))
    assert counted_length(path) is None
