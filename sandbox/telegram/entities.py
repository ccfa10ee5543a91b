"""Formatted text: from a bot's HTML, MarkdownV2 or explicit entities to plain text and entities.

Lengths and offsets are in UTF-16 code units, as everywhere in the Bot API
(core.telegram.org/bots/api#messageentity).
"""

import re
from dataclasses import dataclass, field
from typing import Any

from sandbox.telegram.errors import bad_request
from sandbox.telegram.html_text import parse_html
from sandbox.telegram.markdown_text import parse_markdown

TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024

_ENTITY_KEYS = {
    "type",
    "offset",
    "length",
    "url",
    "user",
    "language",
    "custom_emoji_id",
    "date_time_format",
    "unix_time",
}
# What Telegram's servers mark by themselves in any text, as far as bots go by it (td, `MessageEntity.cpp`).
_AUTOMATIC = re.compile(
    r"(?P<url>https?://[^\s<>\"]+)"
    r"|(?<![\w/<>])(?P<bot_command>/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?)(?![\w/<>])"
    r"|(?<!\w)(?P<mention>@[A-Za-z0-9_]{4,32})(?!\w)"
)


@dataclass(frozen=True)
class FormattedText:
    """Plain text with its entities, as a message carries them."""

    text: str
    entities: list[dict[str, Any]] = field(default_factory=list)


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def with_automatic_entities(text: str) -> FormattedText:
    """What a person typed: commands, links and mentions are found by Telegram itself."""
    return FormattedText(text, _automatic(text, []))


def format_text(text: str, parse_mode: str | None, entities: list[Any] | None) -> FormattedText:
    """What a bot sent. `entities` win over `parse_mode`, as in the Bot API. Raises 400 `can't parse
    entities`."""
    if entities is not None:
        parsed = FormattedText(text, _checked(entities, utf16_length(text)))
    elif not parse_mode:
        parsed = FormattedText(text)
    elif parse_mode.casefold() == "html":
        parsed = FormattedText(*parse_html(text))
    elif parse_mode.casefold() == "markdownv2":
        parsed = FormattedText(*parse_markdown(text))
    else:
        raise bad_request("unsupported parse_mode")
    return _trimmed(FormattedText(parsed.text, _automatic(parsed.text, parsed.entities)))


def _automatic(text: str, entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
    taken = [(entity["offset"], entity["offset"] + entity["length"]) for entity in entities]
    found = list(entities)
    for match in _AUTOMATIC.finditer(text):
        start = utf16_length(text[: match.start()])
        end = start + utf16_length(match.group())
        if not any(start < other_end and other_start < end for other_start, other_end in taken):
            found.append({"type": str(match.lastgroup), "offset": start, "length": end - start})
    return sorted(found, key=lambda entity: (entity["offset"], -entity["length"]))


def _checked(entities: list[Any], length: int) -> list[dict[str, Any]]:
    for entity in entities:
        if not isinstance(entity, dict) or not {"type", "offset", "length"} <= entity.keys():
            raise bad_request("can't parse MessageEntity: type, offset and length are required")
        if unknown := entity.keys() - _ENTITY_KEYS:
            raise bad_request(f'can\'t parse MessageEntity: unknown field "{sorted(unknown)[0]}"')
        if entity["offset"] < 0 or entity["length"] <= 0 or entity["offset"] + entity["length"] > length:
            raise bad_request("entity lies outside of the text")
    return entities


def _trimmed(parsed: FormattedText) -> FormattedText:
    """Telegram cuts white space off the end."""
    text = parsed.text.rstrip()
    length = utf16_length(text)
    entities = [
        {**entity, "length": min(entity["length"], length - entity["offset"])}
        for entity in parsed.entities
        if entity["offset"] < length
    ]
    return FormattedText(text, entities)
