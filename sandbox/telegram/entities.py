"""The entities that Telegram's servers find in plain text: links, commands and mentions.

Offsets and lengths are in UTF-16 code units (core.telegram.org/bots/api#messageentity).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024

# Kinds in which no links, commands and mentions are found.
_FIXED = ("code", "pre", "text_link")
# TDLib's `MessageEntity.cpp` finds more kinds; these are the ones that bots read.
_AUTOMATIC = re.compile(
    r"(?P<url>https?://[^\s<>\"]+)"
    r"|(?<![\w/<>])(?P<bot_command>/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?)(?![\w/<>])"
    r"|(?<!\w)(?P<mention>@[A-Za-z0-9_]{4,32})(?!\w)"
)


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def find_entities(text: str) -> list[dict[str, Any]]:
    """Return the MessageEntity objects of a text, in order."""
    return [
        {
            "type": str(match.lastgroup),
            "offset": utf16_length(text[: match.start()]),
            "length": utf16_length(match.group()),
        }
        for match in _AUTOMATIC.finditer(text)
    ]


def text_fields(name: str, text: str, given: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return a message's fields for a text (`name`: text or caption) with its given and found entities."""
    end = utf16_length(text)
    kept = [
        {**one, "length": min(one["length"], end - one["offset"])} for one in given if one["offset"] < end
    ]
    fixed = [one for one in kept if one["type"] in _FIXED]
    found = [one for one in find_entities(text) if one not in kept and not _overlaps(one, fixed)]
    entities = sorted(kept + found, key=lambda entity: (entity["offset"], -entity["length"]))
    entities_name = "entities" if name == "text" else "caption_entities"
    return {name: text, **({entities_name: entities} if entities else {})}


def _overlaps(entity: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> bool:
    start, end = entity["offset"], entity["offset"] + entity["length"]
    return any(start < other["offset"] + other["length"] and other["offset"] < end for other in others)
