"""The key: right for cadences in every key, and none where no key fits."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from stemdrop.domain.song_facts import KEYS
from worker.audio.sound import PITCH_STEPS
from worker.audio.tonality import find_key

# Notes of chords in semitones from the tonic.
CADENCES = {
    "major": [(0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14), (0, 4, 7)],
    "minor": [(0, 3, 7), (5, 8, 12), (7, 11, 14), (0, 3, 7), (8, 12, 15), (5, 8, 12), (7, 11, 14), (0, 3, 7)],
}


def pitches(chords: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Blocks in which these notes sound (semitones from C), each with five harmonics."""
    blocks = np.zeros((len(chords), PITCH_STEPS))
    for block, chord in zip(blocks, chords, strict=True):
        for note in chord:
            for harmonic in range(1, 6):
                step = round(10 * (note + 12 * np.log2(harmonic))) % PITCH_STEPS
                block[step] += harmonic**-0.75
    return blocks


@pytest.mark.parametrize("cents", [0, 30, -40])
@pytest.mark.parametrize("key", KEYS)
def test_a_cadence_gives_its_key_in_any_tuning(key: str, cents: float) -> None:
    tonic = KEYS.index(key) % 12 + cents / 100
    chords = CADENCES[key.split()[1]]
    assert find_key(pitches([[tonic + note for note in chord] for chord in chords])) == key


@pytest.mark.parametrize(("first", "key"), [(-3, "F minor"), (0, "A♭ major")])
def test_first_and_last_chord_tell_a_key_from_its_relative(first: int, key: str) -> None:
    """The same four chords over and over: vi, IV, I and V, or I, V, vi and IV."""
    loop = {-3: (-3, 0, 4), 5: (5, 9, 12), 0: (0, 4, 7), 7: (7, 11, 14)}
    order = [-3, 5, 0, 7] if first else [0, 7, -3, 5]
    assert find_key(pitches([[8 + note for note in loop[root]] for root in order * 3])) == key


@pytest.mark.parametrize("seed", range(4))
def test_noise_and_random_chords_have_no_key(seed: int) -> None:
    random = np.random.default_rng(seed)
    assert find_key(random.uniform(0, 1, (20, PITCH_STEPS))) == ""
    assert find_key(pitches(random.integers(0, 12, (60, 3)).tolist())) == ""


@pytest.mark.parametrize(
    "chords",
    [[(0, 7)], [(9,)], [(n,) for n in range(12)], [(n, n + 4, n + 8) for n in range(0, 12, 2)], [()]],
    ids=["fifths", "one note", "chromatic", "whole tones", "silence"],
)
def test_ambiguous_music_has_no_key(chords: list[tuple[int, ...]]) -> None:
    assert find_key(pitches(chords * 12)) == ""


def test_a_song_of_few_blocks_has_no_key() -> None:
    assert find_key(pitches(CADENCES["major"][:3])) == ""
    assert find_key(np.zeros((0, PITCH_STEPS))) == ""
