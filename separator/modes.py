"""The words of the contract: what can be asked for, and what it is called in answers."""

from enum import StrEnum


class Mode(StrEnum):
    """The `type` of a create request."""

    SEPARATE_VOCAL = "separate_vocal"  # vocals and instrumental
    SPLIT_STEM = "split_stem"  # everything the engine can tell apart
    SPLIT_STEM_ADVANCED = "split_stem_advanced"  # one named instrument, and the rest


CONTRACT_PRICES = {Mode.SEPARATE_VOCAL: 10, Mode.SPLIT_STEM: 50, Mode.SPLIT_STEM_ADVANCED: 20}
"""Credits, as the contract's provider charges them."""

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
"""Every `stemName` that is taken, and the engine's stem for it, if an engine can have it at all."""

SPLIT_FIELDS = {
    "vocals": "vocal",
    "backing_vocals": "backing_vocals",
    "drums": "drums",
    "bass": "bass",
    "guitar": "guitar",
    "piano": "piano",
    "keyboard": "keyboard",
    "percussion": "percussion",
    "strings": "strings",
    "synth": "synth",
    "fx": "fx",
    "brass": "brass",
    "woodwinds": "woodwinds",
}
"""Engine's stem → its URL field without the ending (`vocal` for `vocal_url` and `vocalUrl`). A stem that is
not here goes under its own name, as the contract lets a provider add stems.
"""
