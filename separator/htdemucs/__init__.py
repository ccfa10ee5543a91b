"""The HTDemucs engine's stems; importing this module loads no numpy into the web process."""

STEMS = ("vocals", "drums", "bass", "other")
