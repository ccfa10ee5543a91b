"""Remixes of the demo song's true stems, and of stems in odd forms."""

from pathlib import Path

import numpy as np
import pytest
from decoding import decode
from numpy.typing import NDArray
from sounds import record

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.recipes import OFF_DB, Recipe
from stemdrop.domain.song_facts import SongFacts
from worker.audio.mixdown import MixInput, mix_down

MEDIA = Path(__file__).parents[2] / "media"
STEMS = ("vocals", "drums", "bass", "other")
RATE = 44_100
FACTS = SongFacts(bpm=104)
Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def true_stems() -> dict[str, Samples]:
    return {name: decode(MEDIA / f"demo-song.{name}.flac") for name in STEMS}


def demo(**gains: int) -> list[MixInput]:
    return [
        MixInput(MEDIA / f"demo-song.{name}.flac", AudioFormat.FLAC, gains.get(name, 0)) for name in STEMS
    ]


def decibels(ratio: float) -> float:
    return float(20 * np.log10(max(ratio, 1e-9)))


def rendered(
    inputs: list[MixInput],
    target: Path,
    recipe: Recipe | None = None,
    facts: SongFacts | None = FACTS,
    audio_format: AudioFormat = AudioFormat.FLAC,
) -> Samples:
    length_s = mix_down(inputs, recipe or Recipe(), facts, target, audio_format)
    samples = decode(target)
    assert samples.shape == (2, round(length_s * RATE))
    return samples


def flac(path: Path, *channels: Samples) -> MixInput:
    """A stem of 48 kHz."""
    return MixInput(record(path, "flac", *channels), AudioFormat.FLAC)


def test_without_drums_is_the_sum_of_the_others_and_gains_are_exact(
    true_stems: dict[str, Samples], tmp_path: Path
) -> None:
    progress: list[float] = []
    mix_down(demo(drums=OFF_DB), Recipe(), None, tmp_path / "a", AudioFormat.FLAC, progress.append)
    without_drums = sum(true_stems[name] for name in STEMS if name != "drums")
    assert decibels(np.abs(decode(tmp_path / "a") - without_drums).max()) < -60
    assert progress == sorted(progress)
    assert progress[0] < 0.1
    assert progress[-1] == 1
    one = rendered(demo(vocals=-12, drums=OFF_DB, bass=OFF_DB, other=OFF_DB), tmp_path / "b")
    assert decibels(one.std() / true_stems["vocals"].std()) == pytest.approx(-12, abs=0.1)
