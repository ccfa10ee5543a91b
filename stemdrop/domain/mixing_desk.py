"""`Draft`: the state of a user's mixing desk for a job, and the presets. Plain data; no I/O."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Self

from stemdrop.domain.recipes import OFF_DB, QUIET_DB, Recipe
from stemdrop.domain.results import Stem

# In percent; 100 is the song's own speed.
SPEEDS = (50, 60, 70, 75, 80, 90, 100, 110, 125)
PRACTICE_SPEEDS = (70, 80, 90, 100)
# What a user can play or sing, by the keys of stems, in the order in which they are offered.
INSTRUMENT_KEYS = (
    *("vocals", "drums", "bass", "guitar", "piano", "keyboard"),
    *("strings", "synth", "brass", "woodwinds"),
)
# The instruments for which every user gets a preset that leaves them out.
_IMPORTANT = INSTRUMENT_KEYS[:6]
# Key of an instrument that was isolated alone → its key in a split of all stems.
_SAME_INSTRUMENT = {
    "lead_vocal": "vocals",
    "drum_kit": "drums",
    "electric_guitar": "guitar",
    "acoustic_guitar": "guitar",
    "string_section": "strings",
    "brass_section": "brass",
}


class Level(StrEnum):
    """The level of a stem on a desk; the value is its letter in `callback_data`."""

    NORMAL = "n"
    QUIET = "q"
    OFF = "o"
    SOLO = "s"


_NEXT = {
    Level.NORMAL: Level.QUIET,
    Level.QUIET: Level.OFF,
    Level.OFF: Level.SOLO,
    Level.SOLO: Level.NORMAL,
}
_AS_IT_IS = Recipe()
_GAINS = {Level.QUIET: QUIET_DB, Level.OFF: OFF_DB}


@dataclass(frozen=True, slots=True)
class Draft:
    """The state of a desk: a recipe, and the keys of stems that are soloed, which silence all others."""

    recipe: Recipe = _AS_IT_IS
    solos: tuple[str, ...] = ()

    def level(self, key: str) -> Level:
        if key in self.solos:
            return Level.SOLO
        gain = self.recipe.gain(key)
        return Level.OFF if gain == OFF_DB else Level.QUIET if gain < 0 else Level.NORMAL

    def next_level(self, key: str) -> Level:
        """Return the level that a tap sets; while any stem is soloed, a tap on another solos it, too."""
        level = self.level(key)
        return Level.SOLO if self.solos and level is not Level.SOLO else _NEXT[level]

    def with_level(self, key: str, level: Level) -> Self:
        solos = set(self.solos) - {key} | ({key} if level is Level.SOLO else set())
        recipe = self.recipe.with_gain(key, _GAINS.get(level, 0))
        return replace(self, recipe=recipe, solos=tuple(sorted(solos)))

    def with_values(self, **values: Any) -> Self:
        """Return the draft with these attributes of its recipe changed."""
        return replace(self, recipe=replace(self.recipe, **values))

    def played(self, keys: Collection[str], *, has_tempo: bool) -> Recipe:
        """Return the recipe for a song that has only these stems; clicks need a known tempo."""
        solos = set(self.solos) & set(keys)
        gains = {key: OFF_DB if solos and key not in solos else self.recipe.gain(key) for key in keys}
        recipe = self.recipe.with_gains(gains)
        if has_tempo:
            return recipe
        return replace(recipe, has_count_in=False, has_metronome=False)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The reverse of `to_json`. Raises `ValueError` if the recipe is invalid."""
        return cls(Recipe.from_json(value["recipe"]), tuple(value["solos"]))


class PresetKind(StrEnum):
    """What a preset does; the value is its letter in `callback_data`."""

    WITHOUT = "w"  # its stem is off
    QUIET = "q"  # its stem is quiet
    RHYTHM = "r"  # only drums and bass


@dataclass(frozen=True, slots=True)
class Preset:
    """A ready mix; `is_mine`: it leaves out the instrument that the user plays."""

    kind: PresetKind
    draft: Draft
    stem: Stem | None = None
    is_mine: bool = False

    @property
    def word(self) -> str:
        """Name the preset in `callback_data`."""
        return f"{self.kind}{stem_word(self.stem.key)}" if self.stem else self.kind.value

    def applied(self, draft: Draft) -> Draft:
        """Return the preset's levels with the speed, key and clicks of the draft."""
        return Draft(draft.recipe.with_gains(dict(self.draft.recipe.gains)), self.draft.solos)


def presets(stems: Sequence[Stem], my_instrument: str = "") -> list[Preset]:
    """Return the presets that fit these stems, the one without the user's instrument first."""
    by_name: dict[str, Stem] = {}
    for stem in stems:
        by_name.setdefault(instrument_of(stem), stem)
    names = [name for name in _IMPORTANT if name in by_name and name != my_instrument]
    if my_instrument and my_instrument in by_name:
        names.insert(0, my_instrument)
    found = [_without(by_name[name], is_mine=name == my_instrument) for name in names]
    if vocals := by_name.get("vocals"):
        found.append(Preset(PresetKind.QUIET, Draft().with_level(vocals.key, Level.QUIET), vocals))
    rhythm = sorted(by_name[name].key for name in ("drums", "bass") if name in by_name)
    if len(rhythm) == 2 < len(stems):
        found.append(Preset(PresetKind.RHYTHM, Draft(solos=tuple(rhythm))))
    return found


def _without(stem: Stem, *, is_mine: bool) -> Preset:
    return Preset(PresetKind.WITHOUT, Draft().with_level(stem.key, Level.OFF), stem, is_mine)


def instrument_of(stem: Stem) -> str:
    """Return the instrument of a stem, or its key if that is none of `INSTRUMENT_KEYS`; empty for a rest."""
    return "" if stem.is_rest else _SAME_INSTRUMENT.get(stem.key, stem.key)


def stem_word(key: str) -> str:
    """Return a short name of a stem for `callback_data`, whose 64 bytes a key alone may fill."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()[:8]


def stem_of_word(stems: Iterable[Stem], word: str) -> Stem | None:
    return next((stem for stem in stems if stem_word(stem.key) == word), None)


def stepped(speed: int, step: int) -> int:
    """Return the next slower (`step` < 0) or faster one of `SPEEDS`, or the last one at either end."""
    if step < 0:
        return max((it for it in SPEEDS if it < speed), default=SPEEDS[0])
    return min((it for it in SPEEDS if it > speed), default=SPEEDS[-1])


def practice_pack(recipe: Recipe, *, has_tempo: bool) -> tuple[Recipe, ...]:
    """Return the same mix at each of `PRACTICE_SPEEDS`, with a count-in if the tempo is known."""
    return tuple(replace(recipe, speed=speed, has_count_in=has_tempo) for speed in PRACTICE_SPEEDS)
