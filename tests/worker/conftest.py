"""Songs and stems of the worker's tests."""

from pathlib import Path

import pytest
from tones import beginning_with_tags, mp3

DEMO_SONG = Path(__file__).parents[2] / "sandbox" / "songs" / "demo-song.mp3"


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first second of the bundled song, with its tags: most tests send it, whatever it sounds like."""
    return beginning_with_tags(DEMO_SONG, tmp_path_factory.mktemp("song") / DEMO_SONG.name, 1)


@pytest.fixture(scope="session")
def tone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A tenth of a second of a real MP3, at the rate at which sound is measured: most tests send many stems,
    whatever is in them."""
    return mp3(tmp_path_factory.mktemp("tone") / "tone.mp3", 0.1, rate=24_000)
