"""Stems of the worker's tests."""

import pytest
from tones import mp3


@pytest.fixture(scope="session")
def tone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A quarter of a second of a real, small MP3: most tests send many stems, whatever is in them."""
    return mp3(tmp_path_factory.mktemp("tone") / "tone.mp3", 0.25)
