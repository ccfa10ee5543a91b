"""Finds a song's key from the strengths of its pitches, if one key fits clearly."""

from typing import cast

import numpy as np

from stemdrop.domain.song_facts import KEYS
from worker.audio.sound import PITCH_STEPS, Values

# How often the twelve notes occur in a key, from its tonic on: Albrecht and Shanahan, "The Use of Large
# Corpora to Train a New Type of Key-Finding Algorithm", Music Perception 31 (2013).
_MAJOR = np.array([0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081])
_MINOR = np.array([0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052])
_MAJOR_CHORD = np.array([1, 0, 0, 0, 0.8, 0, 0, 0.8, 0, 0, 0, 0])
_MINOR_CHORD = np.array([1, 0, 0, 0.8, 0, 0, 0, 0.8, 0, 0, 0, 0])
_MIN_BLOCKS = 4
# Correlations: random chords reach 0.76 with some key, songs 0.85 and more with their own.
_MIN_FIT = 0.78
_MIN_LEAD = 0.1
# Blocks that are weaker than this share of the strongest block are ignored.
_FAINT = 0.1


def find_key(pitches: Values, *, is_sample: bool = False) -> str:
    """Return one of `KEYS`; empty if none fits clearly better than the others.

    `pitches` is as in `Sound`. A key and its relative have the same notes: the first and the last chord tell
    which of the two it is. In a sample each of these chords counts only if the block at that end is heard.
    """
    if len(pitches) < _MIN_BLOCKS:
        return ""
    strengths = pitches.sum(axis=1)
    is_heard = strengths > _FAINT * strengths.max()
    heard = pitches[is_heard]
    if len(heard) < _MIN_BLOCKS:
        return ""
    notes = _notes(heard)
    fits = _fits(notes.sum(axis=0), _MAJOR, _MINOR)
    best = int(fits.argmax())
    relative = (best + 9) % 12 + 12 if best < 12 else (best + 3) % 12
    if fits[best] < _MIN_FIT or fits[best] - np.delete(fits, [best, relative]).max() < _MIN_LEAD:
        return ""
    ends = [at for at in (0, -1) if is_heard[at] or not is_sample]
    chords = [int(_fits(notes[at], _MAJOR_CHORD, _MINOR_CHORD).argmax()) for at in ends]
    votes = chords.count(best) - chords.count(relative)
    if votes == 0 and fits[best] - fits[relative] < _MIN_LEAD:
        return ""
    return KEYS[relative if votes < 0 else best]


def _fits(notes: Values, major: Values, minor: Values) -> Values:
    """Return how well each of `KEYS` correlates with these strengths of the twelve notes."""
    profiles = np.array([np.roll(profile, tonic) for profile in (major, minor) for tonic in range(12)])
    profiles = profiles - profiles.mean(axis=1, keepdims=True)
    notes = notes - notes.mean()
    size = float(np.linalg.norm(notes)) or 1.0  # 1 if all notes are equally strong
    return cast(Values, profiles @ notes / np.linalg.norm(profiles, axis=1) / size)


def _notes(pitches: Values) -> Values:
    """Return the strengths of the twelve notes in each block, in the song's own tuning."""
    steps = PITCH_STEPS // 12
    angles = 2 * np.pi * np.arange(PITCH_STEPS) / steps
    tuning = round(float(np.angle((pitches.sum(axis=0) * np.exp(1j * angles)).sum())) / (2 * np.pi) * steps)
    tuned = np.roll(pitches, steps // 2 - tuning, axis=1)
    return cast(Values, tuned.reshape(len(pitches), 12, steps).sum(axis=2))
