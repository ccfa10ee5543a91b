"""The entities that Telegram's servers find in plain text: links, commands and mentions.

Offsets and lengths are in UTF-16 code units (core.telegram.org/bots/api#messageentity).
"""

import re
from typing import Any

TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024

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


def text_fields(name: str, text: str) -> dict[str, Any]:
    """Return a message's fields for a text and its entities; `name` is `text` or `caption`."""
    entities_name = "entities" if name == "text" else "caption_entities"
    entities = find_entities(text)
    return {name: text, **({entities_name: entities} if entities else {})}
