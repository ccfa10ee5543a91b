"""A desk's levels, presets and speeds, and what is played of them."""

import json

import pytest

from stemdrop.domain.mixing_desk import (
    INSTRUMENT_KEYS,
    SPEEDS,
    Draft,
    Level,
    instrument_of,
    practice_pack,
    presets,
    stem_of_word,
    stem_word,
    stepped,
)
from stemdrop.domain.recipes import FASTEST, OFF_DB, QUIET_DB, SLOWEST, Recipe
from stemdrop.domain.results import Stem
from stemdrop.domain.song_facts import transposed

BAND = tuple(Stem(key, "") for key in ("vocals", "drums", "bass", "other"))
KEYS = [stem.key for stem in BAND]


def tapped(draft: Draft, *keys: str) -> Draft:
    for key in keys:
        draft = draft.with_level(key, draft.next_level(key))
    return draft


def heard(draft: Draft) -> list[str]:
    return list(draft.played(KEYS, has_tempo=True).heard(KEYS))


def test_taps_walk_through_the_levels() -> None:
    draft, levels = Draft(), []
    for _ in range(4):
        draft = tapped(draft, "bass")
        levels.append((draft.level("bass"), heard(draft)))
    others = ["vocals", "drums", "other"]
    assert levels == [
        (Level.QUIET, KEYS),
        (Level.OFF, others),
        (Level.SOLO, ["bass"]),
        (Level.NORMAL, KEYS),
    ]
    assert draft == Draft()


def test_a_solo_is_added_to_and_ends_with_the_earlier_levels() -> None:
    draft = tapped(Draft(), "vocals", "drums", "drums", "drums")
    assert heard(draft) == ["drums"]
    draft = tapped(draft, "bass")
    assert heard(draft) == ["drums", "bass"]
    draft = tapped(draft, "bass", "drums")
    assert draft.played(KEYS, has_tempo=True) == Recipe((("vocals", QUIET_DB),))


def test_what_a_song_lacks_is_not_played() -> None:
    clicks = Recipe((("tuba", OFF_DB), ("vocals", OFF_DB)), has_count_in=True, has_metronome=True)
    draft = Draft(clicks, ("horn",))
    assert draft.played(KEYS, has_tempo=True) == Recipe(
        (("vocals", OFF_DB),), has_count_in=True, has_metronome=True
    )
    assert draft.played(KEYS, has_tempo=False) == Recipe((("vocals", OFF_DB),))


def test_a_draft_comes_back_from_json() -> None:
    draft = Draft(Recipe((("vocals", QUIET_DB),), 80, -2, has_count_in=True), ("bass",))
    assert Draft.from_json(json.loads(json.dumps(draft.to_json()))) == draft


def words(*keys: str, mine: str = "") -> list[str]:
    stems = [Stem(key, "", is_rest=key.endswith("_rest")) for key in keys]
    names = {stem_word(stem.key): stem.key for stem in stems}
    found = presets(stems, mine)
    assert len({preset.word for preset in found}) == len(found)
    return [f"{preset.kind}:{names.get(preset.word[1:], '')}{'*' * preset.is_mine}" for preset in found]


@pytest.mark.parametrize(
    ("keys", "mine", "expected"),
    [
        (("vocals", "instrumental"), "", ["w:vocals", "q:vocals"]),
        (("vocals", "drums", "bass", "other"), "", ["w:vocals", "w:drums", "w:bass", "q:vocals", "r:"]),
        (
            ("vocals", "drums", "bass", "other"),
            "bass",
            ["w:bass*", "w:vocals", "w:drums", "q:vocals", "r:"],
        ),
        (("vocals", "drums", "other"), "bass", ["w:vocals", "w:drums", "q:vocals"]),
        (("drums", "bass"), "", ["w:drums", "w:bass"]),
        (("strings", "other"), "strings", ["w:strings*"]),
        (("strings", "other"), "", []),
        (("drum_kit", "drum_kit_rest"), "drums", ["w:drum_kit*"]),
        (("lead_vocal", "lead_vocal_rest"), "", ["w:lead_vocal", "q:lead_vocal"]),
    ],
)
def test_presets_fit_the_stems(keys: tuple[str, ...], mine: str, expected: list[str]) -> None:
    assert words(*keys, mine=mine) == expected


def test_presets_do_what_they_say() -> None:
    without, *_, quiet, rhythm = presets(BAND, "bass")
    assert without.applied(Draft()) == Draft(Recipe((("bass", OFF_DB),)))
    assert quiet.applied(Draft()) == Draft(Recipe((("vocals", QUIET_DB),)))
    assert heard(rhythm.applied(Draft(Recipe((("drums", OFF_DB),))))) == ["drums", "bass"]
    slow = Recipe((("other", OFF_DB),), 80, -2, has_count_in=True)
    assert without.applied(Draft(slow, ("other",))) == Draft(
        Recipe((("bass", OFF_DB),), 80, -2, has_count_in=True)
    )


def test_the_rest_of_a_song_is_no_instrument() -> None:
    assert [instrument_of(Stem("bass", "", is_rest=rest)) for rest in (False, True)] == ["bass", ""]
    assert instrument_of(Stem("electric_guitar", "")) in INSTRUMENT_KEYS


def test_a_stem_is_found_by_its_word() -> None:
    stems = [Stem(f"{'鼓' * 38}_{number}", "") for number in range(64)]
    assert [stem_of_word(stems, stem_word(stem.key)) for stem in stems] == stems
    assert {len(stem_word(stem.key)) for stem in stems} == {8}
    assert stem_of_word(stems, stem_word("gone")) is None


def test_speeds_are_stepped_to_their_ends() -> None:
    assert (SPEEDS[0], SPEEDS[-1]) == (SLOWEST, FASTEST)
    assert [stepped(speed, 1) for speed in SPEEDS] == [*SPEEDS[1:], 125]
    assert [stepped(speed, -1) for speed in SPEEDS] == [50, *SPEEDS[:-1]]
    assert (stepped(83, -1), stepped(83, 1)) == (80, 90)


def test_a_practice_pack_has_the_mix_at_four_speeds() -> None:
    mix = Recipe((("bass", OFF_DB),), 110, -2)
    for has_tempo in (True, False):
        pack = practice_pack(mix, has_tempo=has_tempo)
        assert [recipe.speed for recipe in pack] == [70, 80, 90, 100]
        assert {(recipe.gains, recipe.semitones, recipe.has_count_in) for recipe in pack} == {
            (mix.gains, -2, has_tempo)
        }


def test_a_key_is_transposed_within_its_mode() -> None:
    assert [transposed("G major", step) for step in (-2, 0, 6)] == ["F major", "G major", "D♭ major"]
    assert transposed("A minor", 5) == "D minor"
