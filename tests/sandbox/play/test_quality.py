"""The figures that the demo prints."""

from pathlib import Path

import pytest

from sandbox.command import DEMO_SONG
from sandbox.play.quality import sdr_db

MEDIA = Path(__file__).parents[2] / "media"


def test_a_true_stem_is_perfect_and_the_mix_itself_is_bad() -> None:
    assert (sdr_db("drums", MEDIA / "demo-song.drums.flac") or 0) > 100
    assert sdr_db("vocals", DEMO_SONG) == pytest.approx(-5.8, abs=0.3)
    assert sdr_db("instrumental", DEMO_SONG) == pytest.approx(6.1, abs=0.3)


def test_another_instrument_has_no_figure() -> None:
    assert sdr_db("woodwinds", DEMO_SONG) is None
