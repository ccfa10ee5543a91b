"""A remix is named after its song and what was done to it."""

import pytest

from stemdrop.chat.remix_titles import remix_title
from stemdrop.chat.translations import load_translations
from stemdrop.domain.recipes import OFF_DB, Recipe, only
from stemdrop.domain.results import Stem

TWELVE = (
    *("vocals", "backing_vocals", "drums", "bass", "guitar", "piano"),
    *("keyboard", "percussion", "strings", "synth", "fx", "brass"),
)
VOCALS = ("vocals", "instrumental")


def off(*keys: str) -> Recipe:
    return Recipe().with_gains(dict.fromkeys(keys, OFF_DB))


def words(recipe: Recipe, keys: tuple[str, ...] = TWELVE, language: str = "en", song: str = "Blue") -> str:
    stems = [Stem(key, "") for key in keys]
    return remix_title(song, recipe, stems, load_translations().language(language))


@pytest.mark.parametrize(
    ("recipe", "keys", "title"),
    [
        (off("vocals"), VOCALS, "Blue (without vocals)"),
        (off("instrumental"), VOCALS, "Blue (only vocals)"),
        (off("drums"), TWELVE, "Blue (without drums)"),
        (off("fx", "bass"), TWELVE, "Blue (without bass + FX)"),
        (off(*TWELVE[:4]), TWELVE, "Blue (without vocals + backing vocals + 2)"),
        (only(TWELVE, ("drums", "bass")), TWELVE, "Blue (only drums + bass)"),
        (only(TWELVE[:4], ("drums", "bass")), TWELVE[:4], "Blue (only drums + bass)"),
        (off(*TWELVE), TWELVE, "Blue (without vocals + backing vocals + 10)"),
        (Recipe().with_gain("vocals", -12), VOCALS, "Blue (quiet vocals)"),
        (Recipe().with_gains({"bass": 3, "drums": -6}), TWELVE, "Blue (drums −6 dB, bass +3 dB)"),
        (Recipe(speed=80, semitones=-2).with_gain("drums", OFF_DB), TWELVE, "Blue (without drums, 80%, −2)"),
        (
            Recipe(semitones=3, has_count_in=True, has_metronome=True),
            VOCALS,
            "Blue (+3, count-in, metronome)",
        ),
        (Recipe(), VOCALS, "Blue (100%)"),
    ],
)
def test_what_was_done_is_said_in_a_few_words(recipe: Recipe, keys: tuple[str, ...], title: str) -> None:
    assert words(recipe, keys) == title


@pytest.mark.parametrize(
    ("language", "title"),
    [
        ("zh-hans", "Blue (去鼓, 人声调低, 80%, −2)"),
        ("zh-hant", "Blue (去鼓, 人聲調低, 80%, −2)"),
        ("ru", "Blue (минус ударные, вокал тише, 80\xa0%, −2)"),
        ("es", "Blue (sin batería, voz a bajo volumen, 80\xa0%, −2)"),
        ("pt-br", "Blue (sem bateria, vocais em volume baixo, 80%, −2)"),
    ],
)
def test_in_the_language_of_its_user(language: str, title: str) -> None:
    recipe = Recipe(speed=80, semitones=-2).with_gains({"drums": OFF_DB, "vocals": -12})
    assert words(recipe, TWELVE, language) == title


def test_a_single_instrument_alone_and_the_rest_alone() -> None:
    stems = [Stem("drum_kit", "", "Drum Kit"), Stem("rest", "", "Drum Kit", is_rest=True)]
    translate = load_translations().language("en")
    assert remix_title("", off("drum_kit"), stems, translate) == "Song (without drums)"
    assert remix_title("", off("rest"), stems, translate) == "Song (only drums)"


def test_names_that_are_long_or_odd_leave_room_for_the_song() -> None:
    stems = [Stem(f"s{number}", "", "🥁" * 200 + "\n") for number in range(9)]
    recipe = Recipe(speed=55, has_metronome=True).with_gains({f"s{number}": -12 for number in range(9)})
    title = remix_title("x" * 500, recipe, stems, load_translations().language("ru"))
    assert len(title) <= 120
    assert title.startswith("x" * 40)
