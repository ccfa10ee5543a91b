"""Chooses the parts of a song's stems that are measured on delivery, enough for tempo, key and loudness.

Decoding takes a millisecond of processor time for each second of a stem. Whole stems are measured when
their peaks, or the exact places of all beats, are first needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stemdrop.domain.results import Stem

# The measures of a stem: see `worker.audio.sound.Sound`.
LEVELS, ENERGIES, ONSETS, PITCHES = "levels", "energies", "onsets", "pitches"
# Shorter songs are measured whole.
_MIN_SAMPLED_S = 32
_DRUMS = frozenset({"drums", "percussion", "drum_kit"})
_SUNG = frozenset({"vocals", "backing_vocals", "lead_vocal"})
# The energies of more stems than this do not add up to the song's, since the stems share each sound.
MAX_ADDED = 2
# The tempo needs one long part. If that has no steady tempo, as in a break, another part is tried.
_TEMPO_AT, _TEMPO_AGAIN_AT, _TEMPO_S = 0.4, 0.65, 10.0
# Loudness and key need parts from all over the song; the first and last chord tell a key from its relative.
_PLACES, _PLACE_S = 12, 0.4
_END_S = 1.2


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a stem, in seconds, with the measures that are taken of it."""

    start_s: float
    length_s: float
    measures: frozenset[str]


def is_drums(stem: Stem) -> bool:
    return not stem.is_rest and stem.key in _DRUMS


def is_pitched(stem: Stem) -> bool:
    """Return whether the stem tells the song's key: drums do not, nor voices, whose pitch slides."""
    return not is_drums(stem) and (stem.is_rest or stem.key not in _SUNG)


def is_sampled(duration_s: float) -> bool:
    """Return whether a song of this length is long enough to measure only a sample of it."""
    return duration_s > _MIN_SAMPLED_S


def sample_of(stem: Stem, stems: Sequence[Stem], duration_s: float) -> list[Part]:
    """Return the parts of a stem that are measured; none if no measure of it is needed."""
    measures = {ENERGIES} if len(stems) <= MAX_ADDED else set()
    if is_pitched(stem):
        measures.add(PITCHES)
    parts = [
        Part(duration_s * (number + 0.5) / _PLACES, _PLACE_S, frozenset(measures))
        for number in range(_PLACES if measures else 0)
    ]
    if is_drums(stem) or (is_pitched(stem) and not any(map(is_drums, stems))):
        parts.append(Part(duration_s * _TEMPO_AT, _TEMPO_S, frozenset({ONSETS} | (measures & {PITCHES}))))
    return [_chord(0), *parts, _chord(duration_s - _END_S)] if is_pitched(stem) else parts


def second_sample_of(duration_s: float) -> list[Part]:
    """Return the part to measure in a stem whose first sample tells no tempo."""
    return [Part(duration_s * _TEMPO_AGAIN_AT, _TEMPO_S, frozenset({ONSETS}))]


def _chord(start_s: float) -> Part:
    return Part(start_s, _END_S, frozenset({PITCHES}))
