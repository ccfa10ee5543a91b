"""Names of remixes: the song, and in a few words what the recipe does to it. Pure functions; no I/O."""

from collections.abc import Sequence

from stemdrop.chat.translations import Language
from stemdrop.domain.recipes import OFF_DB, QUIET_DB, Recipe
from stemdrop.domain.results import Stem
from stemdrop.domain.titles import cut, title, visible

# A list names at most so many stems, and counts the others.
_MAX_STEMS = 3
# The provider may have given a stem any name.
_NAME_LENGTH = 24
# Leaves half of a title to the song.
_WORDS_LENGTH = 72


def remix_title(song: str, recipe: Recipe, stems: Sequence[Stem], translate: Language) -> str:
    """Return `<title> (without drums, 80 %, −2)`, of at most `MAX_NAME` characters."""
    return title(song, remix_words(recipe, stems, translate), translate("title.song"))


def remix_words(recipe: Recipe, stems: Sequence[Stem], translate: Language) -> str:
    """Return what the recipe does to a song of these stems, in a few words."""
    words = _levels(recipe, stems, translate)
    if recipe.speed != 100:
        words.append(translate.percent(recipe.speed / 100))
    if recipe.semitones:
        words.append(signed(recipe.semitones))
    if recipe.has_count_in:
        words.append(translate("remix.count_in"))
    if recipe.has_metronome:
        words.append(translate("remix.metronome"))
    return cut(", ".join(words) or translate.percent(1), _WORDS_LENGTH)


def signed(number: int) -> str:
    """Return the number with its sign; that of a negative number is a minus, not a hyphen."""
    return f"{number:+d}".replace("-", "−")


def _levels(recipe: Recipe, stems: Sequence[Stem], translate: Language) -> list[str]:
    heard = [stem for stem in stems if recipe.gain(stem.key) > OFF_DB]
    off = [stem for stem in stems if stem not in heard]
    quiet = [stem for stem in heard if recipe.gain(stem.key) == QUIET_DB]
    words = []
    if heard and (1 < len(off) >= len(heard) or (len(off) == len(heard) == 1 and _is_rest(off[0]))):
        words.append(translate("remix.only", stems=_names(heard, " + ", translate)))
    elif off:
        words.append(translate("remix.without", stems=_names(off, " + ", translate)))
    if quiet:
        words.append(translate("remix.quiet", stems=_names(quiet, " + ", translate)))
    others = [stem for stem in heard if stem not in quiet and recipe.gain(stem.key)]
    words += [f"{_name(stem, translate)} {signed(recipe.gain(stem.key))} dB" for stem in others[:_MAX_STEMS]]
    return words


def _is_rest(stem: Stem) -> bool:
    """Return whether the stem is the song without one other stem, which is heard alone if this one is off."""
    return stem.is_rest or stem.key == "instrumental"


def _names(stems: Sequence[Stem], between: str, translate: Language) -> str:
    shown = stems if len(stems) <= _MAX_STEMS else stems[: _MAX_STEMS - 1]
    names = between.join(_name(stem, translate) for stem in shown)
    left = len(stems) - len(shown)
    return f"{names}{between}{translate.number(left)}" if left else names


def _name(stem: Stem, translate: Language) -> str:
    """Return the name as in a sentence: with a small first letter, unless it is an abbreviation (FX)."""
    name = visible(translate.stem(stem))
    is_abbreviation = name[1:2].isupper()
    return cut(name if is_abbreviation else name[:1].lower() + name[1:], _NAME_LENGTH) or stem.key
