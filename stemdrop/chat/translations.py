"""The texts that users read: one gettext catalogue per language in `locales/`, read by Babel.

English is a catalogue like the others, and the fallback of every language. Values are filled in as plain
text: no message is sent with markup.
"""

import gettext
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit

from stemdrop.domain.failures import REMEDIES
from stemdrop.domain.jobs import UNDELIVERED, Failure, Mode
from stemdrop.domain.results import Stem
from stemdrop.domain.song_facts import SongFacts

LOCALES = Path(__file__).parent / "locales"
FALLBACK = "en"
# The catalogue of a language whatever its variant, and those of variants (a script or region) with their own.
_OF_PRIMARY = {"zh": "zh_Hans", "yue": "zh_Hant", "pt": "pt_BR"}
_OF_VARIANT = {("zh", variant): "zh_Hant" for variant in ("hant", "tw", "hk", "mo")}


class Language:
    """The texts of a language; with `is_free`, for a host that charges nothing, `free.<key>` comes first."""

    def __init__(self, code: str, catalogue: gettext.NullTranslations, *, is_free: bool = False) -> None:
        self.code = code
        self._catalogue = catalogue
        self._is_free = is_free

    def where(self, *, is_free: bool) -> "Language":
        """Return the language with the texts for a host that charges nothing, or for one that does."""
        return Language(self.code, self._catalogue, is_free=is_free)

    def __call__(self, key: str, /, **values: object) -> str:
        """Return the text of `key` with `values` filled in. Raises `KeyError` for an unknown key."""
        sentence = (self._is_free and self._own(f"free.{key}")) or self._own(key)
        if not sentence:
            raise KeyError(key)
        return sentence.format(**values)

    def plural(self, key: str, count: int, /, **values: object) -> str:
        """Return the text of `key` in its plural form for `count`, with `count` and `values` filled in."""
        sentence = (self._is_free and self._plural(f"free.{key}", count)) or self._plural(key, count)
        if not sentence:
            raise KeyError(key)
        return sentence.format(count=self.number(count), **values)

    def stem(self, stem: Stem) -> str:
        """Return the name of a stem: ours, or the provider's for a stem that we do not know."""
        if stem.is_rest:
            return self("rest_of", name=self.named(stem.name) if stem.name else "…")
        return self._own(f"stem.{stem.key}") or self.named(stem.name) or stem.key

    def instrument(self, key: str) -> str:
        """Return the name of one of `mixing_desk.INSTRUMENTS`."""
        return self(f"stem.{key}")

    def named(self, name: str) -> str:
        """Translate the provider's name of an instrument ('Lead Vocal'), if the catalogue has it."""
        return self._own(f"instrument.{name}") or name

    def _own(self, key: str) -> str:
        found = self._catalogue.gettext(key)
        return "" if found == key else found

    def _plural(self, key: str, count: int) -> str:
        found = self._catalogue.ngettext(key, f"{key}s", count)
        return "" if found in (key, f"{key}s") else found

    def priced(self, key: str, price: str) -> str:
        """Return a label that ends with its price, or that has no such end if `price` is empty."""
        return self(key, price=price).removesuffix(" · ")

    def mode_name(self, mode: Mode, instrument: str = "") -> str:
        """Return the name of a mode without its price, or of the instrument if one was chosen."""
        return self.named(instrument) if instrument else self(f"mode_name.{mode}")

    def song_facts(self, facts: SongFacts) -> str:
        """Return tempo, key and loudness, if known, as in `104 BPM · G major · −11 LUFS`."""
        known = (
            facts.bpm and f"{facts.bpm:.0f} BPM",
            facts.key and self.key(facts.key),
            facts.loudness is not None and f"{facts.loudness:.0f} LUFS".replace("-", "−"),
        )
        return " · ".join(text for text in known if text)

    def key(self, key: str) -> str:
        """Return the name of one of `song_facts.KEYS`."""
        tonic, _, mode = key.partition(" ")
        return self(f"key.{mode}", tonic=self(f"note.{tonic}"))

    def number(self, count: float) -> str:
        return str(format_decimal(count, locale=self.code))

    def percent(self, share: float) -> str:
        return str(format_percent(share, locale=self.code))

    def credits(self, count: int) -> str:
        return self.plural("credit", count)

    def balance(self, left: float, unit: str) -> str:
        """Format what is left in an account at a provider, in its unit (`Capabilities.balance_unit`)."""
        seconds = {"seconds": 1, "minutes": 60}.get(unit)
        return self.duration(left * seconds) if seconds else self.number(round(left))

    def duration(self, seconds: float) -> str:
        """Format a duration, as in `45 sec`, `1 min 20 sec`, `2 hr 5 min`."""
        total = max(0, round(seconds))
        minutes, left = divmod(total, 60)
        if total < 60:
            return self._unit(total, "second")
        if minutes < 60:
            parts = [(minutes, "minute"), (left, "second")]
        else:
            parts = [(minutes // 60, "hour"), (minutes % 60, "minute")]
        written = [self._unit(count, unit) for count, unit in parts if count]
        return (" " if " " in written[0] else "").join(written)

    def size(self, size_bytes: int, *, limit_bytes: int = 0) -> str:
        """Format a size in megabytes; a size that exceeds `limit_bytes` is not rounded down to it."""
        megabytes = round(size_bytes / (1024 * 1024), 1)
        if limit_bytes:
            megabytes = max(megabytes, round(limit_bytes / (1024 * 1024) + 0.1, 1))
        return self._unit(megabytes, "megabyte")

    def _unit(self, count: float, unit: str) -> str:
        # the short form is the same for every number; CLDR lacks some singular ones ('1 horas')
        two = format_unit(2, unit, length="short", locale=self.code)
        return two.replace("2", self.number(count))

    def failure(self, failure: Failure) -> str:
        """Return what happened and, unless the host charges nothing, whether it was charged."""
        key = f"failure.{failure.code}" if failure.code in REMEDIES else "failure.other"
        head = self("failure.unsent" if failure.code in UNDELIVERED else "failure.head", code=failure.code)
        if self._is_free:
            return f"{head}\n{self(key)}"
        charged = {True: "charged.yes", False: "charged.no", None: "charged.unknown"}[failure.charged]
        return f"{head}\n{self(key)}\n{self(charged)}"


class Translations:
    def __init__(self, languages: Mapping[str, Language]) -> None:
        self.languages = languages

    def language(self, code: str | None) -> Language:
        """Return the language for one of Telegram's codes (IETF, 'zh-hans'), or English."""
        primary, *variants = (code or FALLBACK).lower().replace("_", "-").split("-")
        found = _OF_VARIANT.get((primary, variants[0])) if variants else None
        return self.languages.get(found or _OF_PRIMARY.get(primary, primary), self.languages[FALLBACK])


@cache
def load_translations() -> Translations:
    catalogues = {path.stem: _read(path) for path in sorted(LOCALES.glob("*.po"))}
    for code, catalogue in catalogues.items():
        if code != FALLBACK:
            catalogue.add_fallback(catalogues[FALLBACK])
    return Translations({code: Language(code, catalogue) for code, catalogue in catalogues.items()})


def _read(path: Path) -> gettext.GNUTranslations:
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.stem)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
