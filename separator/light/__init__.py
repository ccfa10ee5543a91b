"""The light engine's stems, in a module that imports nothing, so that the web process need not load numpy."""

STEMS = ("vocals", "drums", "bass", "other")
