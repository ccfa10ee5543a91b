"""Reads from a song's caption how to split the song, in every language of the catalogues."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache

from stemdrop.chat.translations import load_translations
from stemdrop.domain.jobs import INSTRUMENTS, Choice, Mode

_COMMAND = re.compile(r"(?<!\S)/stems(@\w+)?(?!\S)")
# This instrument's name alone is a wish; the name of another one may describe a recording of it.
_DRUMS = "Drum Kit"
# Hashtags and mentions are no wishes: a caption that keeps these signs matches no phrase.
_KEPT_SIGNS = "#@"


def choice_of(caption: str, names: Iterable[str]) -> Choice | None:
    """Return the choice that the whole caption names; `None` if the caption is one of the song's `names`."""
    wish = _normalize(_COMMAND.sub(" ", caption))
    return None if wish in map(_normalize, names) else choices().get(wish)


@cache
def choices() -> Mapping[str, Choice]:
    """Return the choices by their normalized phrases in all languages, any of which a user may write."""
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
