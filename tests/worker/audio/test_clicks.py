"""Count-in and metronome: their clicks are on the beats of the song as it is rendered."""

from pathlib import Path

import numpy as np
import pytest
from decoding import decode
from numpy.typing import NDArray
from sounds import record

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.recipes import Recipe
from stemdrop.domain.song_facts import SongFacts
from worker.audio.clicks import Clicks
from worker.audio.mix_input import MixInput
from worker.audio.mixdown import mix_down
from worker.audio.rhythm import find_beats
from worker.audio.sound import measure_sound

RATE = 44_100
DRUMS = Path(__file__).parents[2] / "media" / "demo-song.drums.flac"


def rendered(stem: Path, facts: SongFacts, target: Path, recipe: Recipe) -> NDArray[np.float32]:
    mix_down([MixInput(stem, AudioFormat.FLAC, -6)], recipe, facts, target, AudioFormat.FLAC)
    return decode(target)[0]


def onsets(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """When the sound becomes loud after 100 ms, in seconds."""
    loud = np.nonzero(np.abs(sound) > np.abs(sound).max() / 3)[0]
    return loud[np.diff(loud, prepend=-RATE) > RATE / 10] / RATE


@pytest.fixture(scope="module")
def knocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds at 120 BPM, its first beat at 0.3 s."""
    time = np.arange(3 * 48_000) / 48_000
    since_beat = (time - 0.3) % 0.5
    sound = 0.5 * np.exp(-since_beat / 0.01) * np.sin(2 * np.pi * 3000 * since_beat)
    return record(tmp_path_factory.mktemp("knocks") / "a", "flac", sound.astype(np.float32))


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("speed", [100, 125])
def test_the_song_continues_the_beats_of_its_count_in(knocks: Path, tmp_path: Path, speed: int) -> None:
    period = 60 / 120 * 100 / speed
    # the beat that is known is any one
    facts = SongFacts(120, 0.3 if speed == 100 else 2.8)
    song = rendered(knocks, facts, tmp_path / "a", Recipe(speed=speed))
    counted = rendered(knocks, facts, tmp_path / "b", Recipe(speed=speed, has_count_in=True))
    heard = onsets(counted)
    assert heard[:8] == pytest.approx(np.arange(8) * period, abs=0.005)
    assert heard == pytest.approx(np.arange(heard.size) * period, abs=0.02)
    lead = round((8 * period - 0.3 * 100 / speed) * RATE)
    assert np.array_equal(counted[lead:], song)
    both = rendered(knocks, facts, tmp_path / "c", Recipe(speed=speed, has_count_in=True, has_metronome=True))
    clicks = onsets(both - np.pad(song, (lead, 0)))
    assert clicks == pytest.approx(np.arange(clicks.size) * period, abs=0.005)
    assert clicks.size == 8 + 6


def test_the_metronome_clicks_on_the_measured_beats_of_the_demo_song(tmp_path: Path) -> None:
    sound = measure_sound(DRUMS, AudioFormat.FLAC)
    assert sound
    beats = find_beats(sound.onsets)
    assert beats
    recipe, inaudible = Recipe(has_metronome=True), MixInput(DRUMS, AudioFormat.FLAC, -90)
    mix_down([inaudible], recipe, SongFacts(beats.bpm, beats.at_s), tmp_path / "a", AudioFormat.FLAC)
    # the demo song's 52 beats begin with it
    assert onsets(decode(tmp_path / "a")[0]) == pytest.approx(np.arange(52) * 60 / 104, abs=0.02)


def test_a_beat_just_before_the_first_one_is_the_first_one(knocks: Path, tmp_path: Path) -> None:
    facts = SongFacts(120, 0.49)
    counted = rendered(knocks, facts, tmp_path / "a", Recipe(has_count_in=True))
    assert counted.size == round((3 + 8 * 0.5 + 0.01) * RATE)
    song = rendered(knocks, facts, tmp_path / "b", Recipe())
    clicks = onsets(rendered(knocks, facts, tmp_path / "c", Recipe(has_metronome=True)) - song)
    assert clicks[:3] == pytest.approx([0, 0.49, 0.99], abs=0.001)


def test_a_click_is_whole_wherever_blocks_end() -> None:
    clicks = Clicks(lead=0, first=19_900, period=20_000, count=2)

    def clicked(*sizes: int) -> NDArray[np.float32]:
        return np.concatenate(list(clicks.add_to(np.zeros((2, size), np.float32) for size in sizes)), axis=1)

    whole = clicked(50_000)
    assert np.count_nonzero(np.diff(whole[0]) == 0) < 46_000
    assert np.array_equal(clicked(20_500, 500, 19_000, 10_000), whole)
