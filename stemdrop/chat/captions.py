"""Captions of songs that say how to split them, in every language of the catalogues."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache

from stemdrop.chat.translations import load_translations
from stemdrop.domain.jobs import INSTRUMENTS, Choice, Mode

_COMMAND = re.compile(r"(?<!\S)/stems(@\w+)?(?!\S)")
# The instrument whose name alone is a wish; that of another may describe a recording of it.
_DRUMS = "Drum Kit"
# Labels and mentions are no wishes: with these signs no phrase matches.
_KEPT_SIGNS = "#@"


def choice_of(caption: str, names: Iterable[str]) -> Choice | None:
    """Return the choice that the whole caption names; none if it is one of the song's `names`."""
    wish = _normalize(_COMMAND.sub(" ", caption))
    return None if wish in map(_normalize, names) else choices().get(wish)


@cache
def choices() -> Mapping[str, Choice]:
    """Return the phrases of all languages, normalized; a user may write in any of them."""
    found: dict[str, Choice] = {}
    for translate in load_translations().languages.values():
        for mode in (Mode.SEPARATE_VOCAL, Mode.SPLIT_STEM):
            phrases = f"{translate.mode_name(mode)}|{translate(f'caption.{mode}')}"
            found |= dict.fromkeys(_split(phrases), (mode, ""))
        for name in INSTRUMENTS:
            phrases = translate("caption.instrument", name=translate.named(name))
            found |= dict.fromkeys(_split(phrases), (Mode.SPLIT_STEM_ADVANCED, name))
        found |= dict.fromkeys(_split(translate("caption.drums")), (Mode.SPLIT_STEM_ADVANCED, _DRUMS))
    return found


def _split(phrases: str) -> list[str]:
    return [_normalize(phrase) for phrase in phrases.split("|")]


def _normalize(text: str) -> str:
    """Return the text without case, accents, punctuation and repeated spaces."""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept = (
        letter if letter.isalnum() or letter in _KEPT_SIGNS else " "
        for letter in letters
        if not unicodedata.combining(letter)
    )
    return " ".join("".join(kept).split())
