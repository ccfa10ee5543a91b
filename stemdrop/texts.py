"""What a user reads: one gettext catalogue per language in `locales/`, read by Babel.

Sentences stand in the catalogues under keys; English is a catalogue like the others, and what every
language falls back to. Users' own words are filled in as plain text: no message is sent with markup.
"""

import gettext
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from stemdrop.jobs import CREDITS, Failure, Mode
from stemdrop.results import Stem

LOCALES = Path(__file__).parent / "locales"
FALLBACK = "en"

# Codes with a sentence of their own: those of the provider's contract, and reasons of ours.
_OF_THE_PROVIDER = (400, 401, 402, 404, 408, 409, 413, 422, 429, 451, 455, 500, 501, 505, 531)
_OF_OURS = ("timeout", "lost", "unreachable", "empty", "source_gone", "undeliverable")
EXPLAINED = frozenset([*map(str, _OF_THE_PROVIDER), *_OF_OURS])
# Trying again cannot help: the song, the key, the credits or the service must change first.
_HOPELESS = frozenset({"400", "401", "402", "413", "422", "505", "source_gone"})


class Language:
    """The sentences of one language."""

    def __init__(self, code: str, catalogue: gettext.NullTranslations) -> None:
        self.code = code
        self._catalogue = catalogue

    def __call__(self, key: str, /, **values: object) -> str:
        """The sentence under `key` with `values` filled in. Raises `KeyError` for an unknown key."""
        sentence = self._catalogue.gettext(key)
        if sentence == key:
            raise KeyError(key)
        return sentence.format(**values)

    def plural(self, key: str, count: int, /, **values: object) -> str:
        """As calling, in the form that `count` takes in this language; `{count}` is filled in."""
        sentence = self._catalogue.ngettext(key, f"{key}s", count)
        if sentence in (key, f"{key}s"):
            raise KeyError(key)
        return sentence.format(count=count, **values)

    def stem(self, stem: Stem) -> str:
        """What a stem is called: our word for it, else the provider's."""
        if stem.is_rest:
            return self("rest_of", name=self.named(stem.name) if stem.name else "…")
        return self._own(f"stem.{stem.key}") or self.named(stem.name) or stem.key

    def named(self, name: str) -> str:
        """An instrument by the provider's name ('Lead Vocal'), in this language where we know it."""
        return self._own(f"instrument.{name}") or name

    def _own(self, key: str) -> str:
        found = self._catalogue.gettext(key)
        return "" if found == key else found

    def mode(self, mode: Mode) -> str:
        """A mode with its price, as on its button."""
        return self(f"mode.{mode}", price=self.plural("credit", CREDITS[mode]))

    def failure(self, failure: Failure) -> str:
        """What happened, its code, what to do about it, and whether it was charged."""
        known = failure.code in EXPLAINED
        what = self(f"failure.{failure.code}" if known else "failure.other")
        charged = {True: "charged.yes", False: "charged.no", None: "charged.unknown"}[failure.charged]
        return f"{self('failure.head', code=failure.code)}\n{what}\n{self(charged)}"


def can_retry(failure: Failure) -> bool:
    """Whether a 'try again' button can help."""
    return failure.code not in _HOPELESS


class Texts:
    """All languages there are."""

    def __init__(self, languages: Mapping[str, Language]) -> None:
        self.languages = languages

    def language(self, code: str | None) -> Language:
        """The language for one of Telegram's codes (IETF, 'zh-hans'); English where we have none."""
        parts = (code or FALLBACK).lower().replace("_", "-").split("-")
        wanted = "zh_Hans" if parts[0] == "zh" else parts[0]
        return self.languages.get(wanted, self.languages[FALLBACK])


@cache
def load_texts() -> Texts:
    """Read every catalogue in `locales/`."""
    catalogues = {path.stem: _read(path) for path in sorted(LOCALES.glob("*.po"))}
    for code, catalogue in catalogues.items():
        if code != FALLBACK:
            catalogue.add_fallback(catalogues[FALLBACK])
    return Texts({code: Language(code, catalogue) for code, catalogue in catalogues.items()})


def _read(path: Path) -> gettext.GNUTranslations:
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.stem)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
