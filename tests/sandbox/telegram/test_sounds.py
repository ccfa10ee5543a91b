"""The outline of a sound."""

import tracemalloc
import wave
from pathlib import Path

import pytest

from sandbox.telegram.sounds import OUTLINE_LENGTH, outline


def test_a_long_sound_is_never_whole_in_memory(tmp_path: Path) -> None:
    """Two minutes at the outline's rate are 4 MB."""
    path = tmp_path / "square.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\xff\x1f\x01\xe0" * 60 * 4000 + b"\xff\x3f\x01\xc0" * 60 * 4000)
    tracemalloc.start()
    loudness = outline(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(loudness) == OUTLINE_LENGTH
    assert (loudness[:126], loudness[130:]) == (pytest.approx([127] * 126, abs=1), [255] * 126)
    assert peak_bytes < 2_500_000
