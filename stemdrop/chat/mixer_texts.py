"""The texts of the mixer's page, which come from the same catalogues as those of the chat."""

from stemdrop.chat.translations import Language

MIXER_TEXTS = (
    "mixer.title",
    "mixer.loading",
    "mixer.play",
    "mixer.pause",
    "mixer.position",
    "mixer.at",
    "mixer.stems",
    "mixer.mute",
    "mixer.solo",
    "mixer.volume",
    "mixer.off",
    "mixer.loop",
    "mixer.loop_start",
    "mixer.loop_end",
    "mixer.loop_clear",
    "mixer.looping",
    "mixer.speed",
    "mixer.speed_failed",
    "mixer.reset",
    "mixer.send",
    "mixer.sent",
    "mixer.unchanged",
    "mixer.silent",
    "mixer.too_many",
    "mixer.refused",
    "mixer.waiting",
    "mixer.offline",
    "mixer.busy",
    "mixer.expired",
    "mixer.forbidden",
    "mixer.gone",
    "mixer.stem_missing",
    "mixer.no_room",
    "mixer.not_playable",
    "mixer.keys",
    "mixer.close",
    "mixer.space",
    "mixer.key_play",
    "mixer.key_seek",
    "mixer.key_stem",
    "mixer.key_mute",
    "mixer.key_solo",
    "mixer.key_loop",
    "mixer.key_help",
)
_PLACEHOLDERS = ("name", "at", "length", "start", "end")


def mixer_texts(translate: Language) -> dict[str, str]:
    """Return the texts by their keys without `mixer.`; the page fills in their `{placeholders}` itself."""
    kept = {name: f"{{{name}}}" for name in _PLACEHOLDERS}
    return {key.removeprefix("mixer."): translate(key, **kept) for key in MIXER_TEXTS}
