"""Describes a song for the mixer's page, and finds the files of its stems."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stemdrop.chat.mixer_texts import mixer_texts
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import Job
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.peaks import decode_peaks
from stemdrop.domain.recipes import Recipe
from stemdrop.domain.results import Stem
from stemdrop.domain.song_facts import SongFacts
from stemdrop.errors import BadContract
from stemdrop.services.song_measures import Measures
from stemdrop.storage.stem_cache import CachedStems


@dataclass(frozen=True, slots=True)
class PlayableStem:
    stem: Stem
    sent: Sent


def playable_stems(job: Job, sent: Mapping[str, Sent]) -> list[PlayableStem]:
    """Return the stems that Telegram stores, in the result's order."""
    stems = job.result.stems if job.result else ()
    return [
        PlayableStem(stem, sent[stem.key]) for stem in stems if stem.key in sent and sent[stem.key].file_id
    ]


def version_of(stems: Sequence[PlayableStem]) -> str:
    """Return 8 hexadecimal digits that change with the files, so that a stem's number means no other stem."""
    text = "\n".join(f"{playable.stem.key} {playable.sent.file_id}" for playable in stems)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def describe(
    job: Job, stems: Sequence[PlayableStem], cached: CachedStems | None, translate: Language
) -> dict[str, Any]:
    """Return title, measures and stems of a song, with the page's texts in the person's language.

    Durations, in seconds, are those that the provider or Telegram names; the page corrects them as it plays.
    """
    peaks = cached.peaks if cached else {}
    duration_s = max((playable.stem.duration_s for playable in stems), default=0)
    # Telegram's durations are whole seconds, which some clients round down
    duration_s = duration_s or job.source.duration_s + 1
    return {
        "language": translate.code,
        "texts": mixer_texts(translate),
        "title": job.source.title,
        "facts": _facts(cached.facts if cached and cached.is_measured else job.facts, translate),
        "duration_s": duration_s,
        "stems": [
            {
                "key": playable.stem.key,
                "name": translate.stem(playable.stem),
                "duration_s": playable.stem.duration_s or duration_s,
                "peaks": _peaks(peaks.get(playable.stem.key, "")),
            }
            for playable in stems
        ],
    }


def describe_measures(
    stems: Sequence[PlayableStem], measures: Measures, translate: Language
) -> dict[str, Any]:
    """Return the song's measures, and the peaks of the stems in their order."""
    peaks = [_peaks(measures.peaks.get(playable.stem.key, "")) for playable in stems]
    return {"facts": _facts(measures.facts, translate), "peaks": peaks}


def check_recipe(value: object, stems: Sequence[PlayableStem], facts: SongFacts | None) -> Recipe:
    """Return the recipe in `value`. Raises `BadContract` if it is none, or cannot be made of these stems."""
    try:
        recipe = Recipe.from_json(value)
    except (ValueError, AttributeError) as error:
        raise BadContract("this is no recipe") from error
    keys = [playable.stem.key for playable in stems]
    if not {key for key, _ in recipe.gains} <= set(keys):
        raise BadContract("the recipe names stems that the song does not have")
    if not recipe.heard(keys):
        raise BadContract("the recipe leaves nothing to hear")
    if (recipe.has_count_in or recipe.has_metronome) and not (facts and facts.bpm):
        raise BadContract("the recipe counts beats, and the song's tempo is not known")
    return recipe


def _facts(facts: SongFacts | None, translate: Language) -> dict[str, Any] | None:
    """Return what was measured, with the musical key in words; `None` if nothing was."""
    if facts is None:
        return None
    return {
        "bpm": facts.bpm or None,
        "beat_s": facts.beat_s if facts.bpm else None,
        "key": translate.key(facts.key) if facts.key else None,
        "loudness": facts.loudness,
    }


def _peaks(encoded: str) -> list[int] | None:
    peaks = decode_peaks(encoded)
    return list(peaks) if peaks else None
