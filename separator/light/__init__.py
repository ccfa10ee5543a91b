"""The light engine. This file imports nothing, so that the service knows its stems without loading numpy."""

STEMS = ("vocals", "drums", "bass", "other")
