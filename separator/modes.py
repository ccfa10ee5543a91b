"""The names of the contract: modes, prices, instruments and fields."""

from collections.abc import Collection
from enum import StrEnum


class Mode(StrEnum):
    SEPARATE_VOCAL = "separate_vocal"  # vocals and instrumental
    SPLIT_STEM = "split_stem"  # all stems of the engine
    SPLIT_STEM_ADVANCED = "split_stem_advanced"  # one named instrument, and the rest


CONTRACT_PRICES = {Mode.SEPARATE_VOCAL: 10, Mode.SPLIT_STEM: 50, Mode.SPLIT_STEM_ADVANCED: 20}
"""Credits that the contract's provider charges."""

STEM_NAMES: dict[str, str | None] = {
    "Lead Vocal": "vocals",
    "Backing Vocals": None,
    "Drum Kit": "drums",
    "Kick": None,
    "Snare": None,
    "Bass": "bass",
    "Piano": None,
    "Electric Guitar": None,
    "Acoustic Guitar": None,
    "Synth": None,
    "String Section": None,
    "Brass Section": None,
    "Organ": None,
}
"""The contract's values of `stemName`, each with the engine's stem, None where no engine has one."""


def stem_names(stems: Collection[str]) -> list[str]:
    """Return the values of `stemName` that an engine with these stems can serve."""
    return [name for name, stem in STEM_NAMES.items() if stem in stems]


_SPLIT_STEMS = (
    *("vocals", "backing_vocals", "drums", "bass", "guitar", "piano", "keyboard", "percussion"),
    *("strings", "synth", "fx", "brass", "woodwinds"),
)
SPLIT_FIELDS = {stem: "vocal" if stem == "vocals" else stem for stem in _SPLIT_STEMS}
"""Engine's stem → its URL field without the ending (`vocal` for `vocal_url` and `vocalUrl`).

Other stems have fields of their own names: the contract allows a provider to add stems.
"""
