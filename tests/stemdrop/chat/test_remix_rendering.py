"""How a mixing desk reads in each language, and that its buttons fit Telegram and a phone."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from builders import make_job
from telegram import InlineKeyboardMarkup

from sandbox.telegram.entities import find_entities
from stemdrop.chat.callback_data import ScreenTap
from stemdrop.chat.remix_rendering import (
    PAGE_LENGTH,
    Desk,
    describe,
    render_levels,
    render_pack,
    render_presets,
    render_tempo,
)
from stemdrop.chat.rendering import Rendered
from stemdrop.chat.translations import Language, load_translations
from stemdrop.domain.jobs import Job
from stemdrop.domain.mixing_desk import INSTRUMENT_KEYS, Draft, Level, stem_word
from stemdrop.domain.recipes import OFF_DB, QUIET_DB, Recipe, only
from stemdrop.domain.results import Stem
from stemdrop.domain.song_facts import SongFacts
from stemdrop.provider.sunoapi.answers import STEM_FIELDS

SAY = load_translations().languages["en"]
FREE = SAY.where(is_free=True)
TWELVE = tuple(Stem(key, "") for key in STEM_FIELDS.values() if key not in ("instrumental", "fx"))
BAND = tuple(Stem(key, "") for key in ("vocals", "drums", "bass", "other"))
FACTS = SongFacts(104, 0.5, "G major", -11)

in_every_language = pytest.mark.parametrize(
    "translate", load_translations().languages.values(), ids=lambda language: language.code
)


def desk(
    *stems: Stem, recipe: Recipe | None = None, solos: tuple[str, ...] = (), facts: SongFacts | None = FACTS
) -> Desk:
    return Desk(make_job(facts=facts), stems or BAND, Draft(recipe or Recipe(), solos))


def labels(shown: Rendered) -> list[list[str]]:
    assert shown[1] is not None
    return [[button.text for button in row] for row in shown[1].inline_keyboard]


def data(keyboard: InlineKeyboardMarkup | None) -> list[str]:
    return [str(it.callback_data) for row in (keyboard.inline_keyboard if keyboard else ()) for it in row]


def pages(shown: Desk, translate: Language) -> Iterator[Rendered]:
    yield render_presets(shown, translate)
    yield render_tempo(shown, translate)
    yield render_pack(shown, translate)
    for page in range(-(-len(shown.stems) // PAGE_LENGTH)):
        yield render_levels(shown, translate, page)


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def test_the_first_page_has_presets_and_ways_to_more() -> None:
    text, keyboard = render_presets(replace(desk(), my_instrument="bass"), SAY)
    assert text == (
        "🎚 Remix of “Morning Line”\nNow: the song as it is. Making it is free.\n\n"
        "Tap a mix to get it at once, or set your own."
    )
    assert labels((text, keyboard)) == [
        ["⭐ Without bass"],
        ["Without vocals", "Without drums"],
        ["Quiet vocals (−12 dB)", "Only drums + bass"],
        ["🔊 Levels…", "⏱ Speed & key…"],
        ["🎓 Practice pack", "✅ Make it · free"],
        ["🖼 Picture", "🔄 Reset", "✖️ Close"],
    ]


def test_where_nothing_costs_anything_nothing_is_said_to_be_free() -> None:
    for text, keyboard in pages(desk(), FREE):
        assert "free" not in text + str(labels((text, keyboard)))


@pytest.mark.parametrize(
    ("recipe", "solos", "said"),
    [
        (Recipe(), (), "the song as it is"),
        (Recipe((("bass", OFF_DB),)), (), "without bass"),
        (Recipe((("bass", OFF_DB), ("vocals", QUIET_DB))), (), "without bass, quiet vocals"),
        (only(["vocals", "drums", "bass", "other"], ["drums"]), (), "only drums"),
        (Recipe(), ("bass",), "only bass"),
        (only(["vocals", "drums", "bass", "other"], []), (), "silence"),
        (
            Recipe((), 80, -2, has_count_in=True, has_metronome=True),
            (),
            "80%, −2, count-in, metronome (83 BPM · F major)",
        ),
    ],
)
def test_the_desk_says_what_is_set(recipe: Recipe, solos: tuple[str, ...], said: str) -> None:
    assert describe(desk(recipe=recipe, solos=solos), SAY) == said


def test_what_is_not_known_of_a_song_is_not_said() -> None:
    set_up = Recipe((), 80, 3, has_count_in=True, has_metronome=True)
    assert describe(desk(recipe=set_up, facts=None), SAY) == "80%, +3"
    assert describe(desk(recipe=set_up, facts=SongFacts(key="A minor")), SAY) == "80%, +3 (C minor)"
    shown = render_tempo(desk(recipe=set_up, facts=None), SAY)
    assert "Metronome" not in str(labels(shown))
    assert "not certain" in shown[0]


def test_levels_are_shown_by_signs_and_solo_silences_the_others() -> None:
    recipe = Recipe((("bass", OFF_DB), ("vocals", QUIET_DB)))
    assert labels(render_levels(desk(recipe=recipe), SAY))[:2] == [
        ["🔉 Vocals", "🔊 Drums"],
        ["🔇 Bass", "🔊 Other"],
    ]
    assert labels(render_levels(desk(recipe=recipe, solos=("drums",)), SAY))[:2] == [
        ["🔇 Vocals", "⭐ Drums"],
        ["🔇 Bass", "🔇 Other"],
    ]


def test_a_tap_names_the_level_that_it_sets() -> None:
    shown = desk(recipe=Recipe((("bass", QUIET_DB),)))
    _, keyboard = render_levels(shown, SAY)
    taps = [ScreenTap.from_data(text) for text in data(keyboard)]
    levels = [tap.words[2:] for tap in taps if tap and tap.words[0] == "g"]
    assert levels == [
        (stem_word(stem.key), Level.OFF if stem.key == "bass" else Level.QUIET, "0") for stem in BAND
    ]


def test_speed_and_key_stop_at_their_ends() -> None:
    slowest, fastest = Recipe((), 50, -6), Recipe((), 125, 6)
    for recipe, ends in ((slowest, ("50", "60", "-6", "-5")), (fastest, ("110", "125", "5", "6"))):
        _, keyboard = render_tempo(desk(recipe=recipe), SAY)
        sent = [text.rpartition(":")[2] for text in data(keyboard)][:6]
        assert (sent[0], sent[2], sent[3], sent[5]) == ends
        assert (sent[1], sent[4]) == ("100", "0")


def test_clicks_are_switched() -> None:
    shown = labels(render_tempo(desk(recipe=Recipe(has_metronome=True)), SAY))
    assert shown[2] == ["Count-in", "✓ Metronome"]


def test_each_stem_is_on_one_page() -> None:
    stems = tuple(Stem(f"stem_{number}", "", f"Stem {number}") for number in range(64))
    shown = desk(*stems)
    seen = [
        text.split(":")[3]
        for page in range(6)
        for text in data(render_levels(shown, SAY, page)[1])
        if text.startswith("M:g:")
    ]
    assert seen == [stem_word(stem.key) for stem in stems]
    assert render_levels(shown, SAY, 9999) == render_levels(shown, SAY, 5)
    assert max(len(labels(render_levels(shown, SAY, page))) for page in range(6)) <= 9


# Telegram's limits, and a phone's


@in_every_language
def test_twelve_stems_fit_in_every_language(translate: Language) -> None:
    recipe = Recipe((("bass", OFF_DB), ("drums", QUIET_DB)), 125, -6, has_count_in=True, has_metronome=True)
    for mine in INSTRUMENT_KEYS:
        shown = replace(desk(*TWELVE, recipe=recipe), my_instrument=mine)
        for text, keyboard in pages(shown, translate):
            assert utf16_length(text) <= 700
            assert len(set(data(keyboard))) == len(data(keyboard))
            assert len(labels((text, keyboard))) <= 9
            for row in labels((text, keyboard)):
                for label in row:
                    width = sum(2 if letter > "\u2e80" else 1 for letter in label)
                    assert width <= 40 // len(row) + 4, label


@in_every_language
def test_64_stems_with_long_names_fit(translate: Language) -> None:
    stems = tuple(Stem("🥁" * 38 + f"_{number}", "", "🥁" * 40) for number in range(64))
    job: Job = make_job(facts=FACTS)
    job = replace(job, source=replace(job.source, title="🎵" * 500))
    gains = {stem.key: QUIET_DB if number % 2 else OFF_DB for number, stem in enumerate(stems)}
    shown = Desk(job, stems, Draft(Recipe().with_gains(gains)))
    for text, keyboard in pages(shown, translate):
        assert utf16_length(text) <= 4096
        assert all(len(text.encode()) <= 64 for text in data(keyboard))
        assert len(data(keyboard)) <= 100


def test_hostile_names_of_stems_are_not_interpreted() -> None:
    stems = tuple(
        Stem(f"stem_{number}", "", name) for number, name in enumerate(("@somebody", "\u202e", "{0}"))
    )
    shown = desk(*stems, recipe=Recipe((("stem_0", OFF_DB),)))
    for text, keyboard in pages(shown, SAY):
        assert "mention" not in {entity["type"] for entity in find_entities(text)}
        assert all("\u202e" not in label for row in labels((text, keyboard)) for label in row)
