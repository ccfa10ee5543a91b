"""Decoding of files with damaged places, and with bytes that are no sound."""

from pathlib import Path

import av
import av.error
import numpy as np
import pytest
from numpy.typing import NDArray
from sounds import FORMS, RATE, damage, record, tone

from stemdrop.services.audio_decoding import decode

AFTER_THE_END = {
    "zeros": bytes(20_000),
    "HTML": b"<html>" + b"x" * 5000 + b"</html>",
    "Lyrics3 and ID3v1": b"LYRICSBEGINLYR00010abcdefghij000029LYRICS200TAG" + bytes(125),
}


def decoded(path: Path) -> NDArray[np.float32]:
    with av.open(str(path), "r") as container:
        resampler = av.AudioResampler(format="fltp")
        parts = [part.to_ndarray() for frame in decode(container) for part in resampler.resample(frame)]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("form", ["mp3", "m4a", "flac", "opus", "vorbis"])
def test_a_damaged_place_is_silent_and_the_rest_is_in_step(tmp_path: Path, form: str) -> None:
    # With an even number of frames in the MP3 the damage is within one; without its header a frame is missed.
    noise = np.random.default_rng(1).normal(0, 0.1, 3 * RATE + 1152).astype(np.float32)
    path = record(tmp_path / "0", form, noise)
    whole = decoded(path)
    damage(path)
    damaged = decoded(path)[:, : whole.shape[1]]
    assert damaged.shape == whole.shape
    # AAC decodes some noise to other noise; at another place the difference would be above 0.1
    assert (damaged - whole)[:, -RATE:].std() < 0.05


@pytest.mark.parametrize("after", AFTER_THE_END)
@pytest.mark.parametrize("form", FORMS)
def test_bytes_after_the_end_add_nothing(tmp_path: Path, form: str, after: str) -> None:
    """Except for the padding of an MP3's last frame, which FFmpeg then plays."""
    path = record(tmp_path / "0", form, tone())
    whole = decoded(path)
    path.write_bytes(path.read_bytes() + AFTER_THE_END[after])
    longer = decoded(path)
    assert np.array_equal(longer[:, : whole.shape[1]], whole)
    assert longer.shape[1] - whole.shape[1] < (1152 if form == "mp3" else 1)


def test_a_file_of_damaged_packets_alone_is_refused(tmp_path: Path) -> None:
    path = record(tmp_path / "0", "m4a", tone(seconds=2))
    content = bytearray(path.read_bytes())
    start, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    content[start:end] = b"\xff" * (end - start)
    path.write_bytes(content)
    with pytest.raises(av.error.FFmpegError):
        decoded(path)
