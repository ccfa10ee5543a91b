"""Tempo and beats: right where the tempo is steady, and none where it is not."""

import numpy as np
import numpy.typing as npt
import pytest
from numpy.typing import NDArray

from worker.audio.rhythm import find_beats


def onsets(times_s: npt.ArrayLike, seconds: float = 30, loudness: npt.ArrayLike = 1.0) -> NDArray[np.float64]:
    """Onsets at these times, over a little noise."""
    times = np.asarray(times_s)
    found = np.random.default_rng(1).uniform(0, 0.1, int(seconds * 100))
    at = np.rint(times * 100).astype(int)
    np.add.at(found, at[at < found.size], np.broadcast_to(loudness, at.shape)[at < found.size])
    return found


def varying(periods_s: npt.ArrayLike, seconds: float = 60) -> NDArray[np.float64]:
    return onsets(np.cumsum(periods_s), seconds)


@pytest.mark.parametrize("seconds", [12, 40])
@pytest.mark.parametrize("tempo", [60, 61.3, 72, 88, 99.5, 104, 116, 128, 140, 155, 173.7, 186, 200])
def test_clicks_give_their_tempo_and_their_beats(tempo: float, seconds: float) -> None:
    beats = find_beats(onsets(np.arange(0.3, seconds, 60 / tempo), seconds))
    assert beats
    assert beats.bpm == pytest.approx(tempo, abs=0.5)
    period = 60 / tempo
    assert (beats.at_s - 0.3 + period / 2) % period - period / 2 == pytest.approx(0, abs=0.02)


def test_a_player_who_is_twelve_milliseconds_off_keeps_the_tempo() -> None:
    times = np.arange(0, 30, 0.5) + np.random.default_rng(2).normal(0, 0.012, 60)
    beats = find_beats(onsets(np.abs(times)))
    assert beats
    assert beats.bpm == pytest.approx(120, abs=0.5)


@pytest.mark.parametrize(("ends", "tempo"), [(0.3, 90), (0.97, 180)])
def test_halves_of_a_beat_are_beats_if_they_are_as_loud(ends: float, tempo: float) -> None:
    """Every second onset is that much weaker."""
    times = np.arange(0, 30, 60 / 180)
    beats = find_beats(onsets(times, loudness=np.where(np.arange(times.size) % 2, ends, 1)))
    assert beats
    assert beats.bpm == pytest.approx(tempo, abs=0.5)


def test_no_tempo_is_stated_that_may_be_twice_the_real_one() -> None:
    times = np.arange(0, 30, 60 / 180)
    assert find_beats(onsets(times, loudness=np.where(np.arange(times.size) % 2, 0.5, 1))) is None


@pytest.mark.parametrize("seed", range(4))
def test_noise_speech_and_rubato_have_no_tempo(seed: int) -> None:
    random = np.random.default_rng(seed)
    syllables = random.uniform(0.12, 0.35, 120) + random.choice([0, 0.6], 120, p=[0.85, 0.15])
    assert find_beats(random.uniform(0, 1, 3000)) is None
    assert find_beats(varying(syllables, 30)) is None
    assert find_beats(varying(0.6 * np.exp(np.cumsum(random.normal(0, 0.04, 110))))) is None


@pytest.mark.parametrize(("first", "last"), [(90, 93), (100, 110), (100, 130), (140, 136)])
def test_a_tempo_that_drifts_is_not_stated(first: float, last: float) -> None:
    assert find_beats(varying(60 / np.linspace(first, last, 130), 60)) is None


def test_few_sounds_in_a_break_have_no_tempo() -> None:
    late = np.zeros(1000)
    late[965:] = onsets([0.05, 0.2, 0.3], 0.35)
    assert find_beats(late) is None


def test_short_and_silent_songs_have_no_tempo() -> None:
    assert find_beats(onsets(np.arange(0, 7.9, 0.5), 7.9)) is None
    assert find_beats(np.zeros(3000)) is None
    assert find_beats(np.zeros(0)) is None
