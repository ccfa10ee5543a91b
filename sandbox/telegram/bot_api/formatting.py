"""The formatting of a bot's texts: HTML (core.telegram.org/bots/api#html-style), or given entities.

The errors are those of TDLib. Offsets are in UTF-16 code units, but in bytes in the errors about HTML.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from sandbox.telegram.bot_api.parameters import refuse_unknown_keys
from sandbox.telegram.entities import text_fields, utf16_length
from sandbox.telegram.errors import ApiError, bad_request

_KINDS = {
    **dict.fromkeys(("b", "strong"), "bold"),
    **dict.fromkeys(("i", "em"), "italic"),
    **dict.fromkeys(("u", "ins"), "underline"),
    **dict.fromkeys(("s", "strike", "del"), "strikethrough"),
    **dict.fromkeys(("span", "tg-spoiler"), "spoiler"),
    **{
        "a": "text_link",
        "code": "code",
        "pre": "pre",
        "blockquote": "blockquote",
        "tg-emoji": "custom_emoji",
    },
}
# core.telegram.org/bots/api#messageentity: entities that Telegram finds itself can also be given.
_GIVEN_KINDS = {
    *_KINDS.values(),
    *(
        "expandable_blockquote",
        "text_mention",
        "mention",
        "hashtag",
        "cashtag",
        "bot_command",
        "url",
        "email",
    ),
    "phone_number",
}
# Kind of entity → its own field.
_FIELDS = {"text_link": "url", "pre": "language", "custom_emoji": "custom_emoji_id"}
_TOKEN = re.compile(
    r"<(?P<slash>/?)(?P<name>[^\s>]*)(?P<attributes>[^>]*)(?P<close>>?)"
    r"|(?P<reference>&(?:lt|gt|amp|quot|#\d+|#x[0-9a-fA-F]+);)|[^<&]+|&"
)
_ATTRIBUTE = re.compile(r"""([\w-]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?""")


@dataclass
class _Open:
    name: str
    offset: int
    entity: dict[str, Any]


@dataclass
class _Reader:
    """The text without tags so far, its open tags and finished entities."""

    text: str = ""
    open: list[_Open] = field(default_factory=list)
    entities: list[dict[str, Any]] = field(default_factory=list)

    def start(self, name: str, given: dict[str, str], place: str) -> None:
        if name not in _KINDS:
            raise _error(f'Unsupported start tag "{name}"{place}')
        entity: dict[str, Any] = {"type": _KINDS[name]}
        if name == "span" and given.get("class") != "tg-spoiler":
            raise _error(f'Tag "span" must have class "tg-spoiler"{place}')
        if name == "blockquote" and "expandable" in given:
            entity["type"] = "expandable_blockquote"
        if name == "a":
            entity["url"] = given.get("href", "")
        if name == "tg-emoji":
            entity["custom_emoji_id"] = given.get("emoji-id", "")
        language = given.get("class", "").removeprefix("language-")
        if name == "code" and self.open and self.open[-1].name == "pre" and language:
            self.open[-1].entity["language"] = language
        self.open.append(_Open(name, utf16_length(self.text), entity))

    def end(self, name: str, place: str) -> None:
        if not self.open:
            raise _error(f"Unexpected end tag{place}")
        opened = self.open.pop()
        if name not in ("", opened.name):
            raise _error(f'Unmatched end tag{place}, expected "</{opened.name}>", found "</{name}>"')
        length = utf16_length(self.text) - opened.offset
        within_pre = name == "code" and any("language" in outer.entity for outer in self.open)
        is_link = "url" not in opened.entity or _url_problem(opened.entity["url"]) is None
        if length and is_link and not within_pre:
            self.entities.append({**opened.entity, "offset": opened.offset, "length": length})


def format_text(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the message's fields for a method's parameter `name` (text or caption). Raises 400."""
    text, mode = fields.get(name) or "", (fields.get("parse_mode") or "").lower()
    if mode in ("markdown", "markdownv2"):
        raise bad_request("parse_mode Markdown is not supported by the local Telegram, only HTML is")
    if mode not in ("", "html"):
        raise bad_request("unsupported parse_mode")
    if mode:
        text, entities = parse_html(text)
    else:
        entities = fields.get("entities" if name == "text" else "caption_entities") or []
        _check_entities(entities, utf16_length(text))
    return text_fields(name, text.rstrip(), entities)  # as Telegram's servers do


def parse_html(html: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the text without tags, and its entities in order. Raises 400 as Telegram does."""
    reader = _Reader()
    for token in _TOKEN.finditer(html):
        name = token["name"]
        if name is None:
            reader.text += unescape(token.group()) if token["reference"] else token.group()
            continue
        place = f" at byte offset {len(html[: token.start()].encode())}"
        if not token["close"] and (token["slash"] or not token["attributes"] or name.lower() in _KINDS):
            raise _error(f"Unclosed {'end' if token['slash'] else 'start'} tag{place}")
        if token["slash"]:
            reader.end(name.lower(), place)
        else:
            found = _ATTRIBUTE.findall(token["attributes"])
            reader.start(name.lower(), {key.lower(): unescape("".join(rest)) for key, *rest in found}, place)
    if reader.open:
        raise _error(f'Can\'t find end tag corresponding to start tag "{reader.open[-1].name}"')
    return reader.text, sorted(reader.entities, key=lambda entity: (entity["offset"], -entity["length"]))


def _check_entities(entities: list[Any], end: int) -> None:
    for entity in entities:
        if not isinstance(entity, dict) or str(entity.get("type")) not in _GIVEN_KINDS:
            raise bad_request("can't parse MessageEntity: Unsupported type specified")
        refuse_unknown_keys(entity, {"type", "offset", "length", *_FIELDS.values()}, "MessageEntity")
        wanted = _FIELDS.get(entity["type"])
        if wanted not in (None, "language") and not isinstance(entity.get(wanted), str):
            raise bad_request(f"can't parse MessageEntity: Can't find field \"{wanted}\"")
        if wanted == "url" and (problem := _url_problem(entity["url"])):
            raise bad_request(f"entity URL '{entity['url']}' is invalid: {problem}")
        offset, length = entity.get("offset"), entity.get("length")
        if not isinstance(offset, int) or offset < 0:
            raise bad_request(f"receive an entity with incorrect offset {offset}")
        if not isinstance(length, int) or length < 0:
            raise bad_request(f"receive an entity with incorrect length {length}")
        if offset > end:
            raise bad_request(f"entity begins after the end of the text at UTF-16 offset {offset}")
        if offset + length > end:
            words = f"entity beginning at UTF-16 offset {offset} ends after the end of the text"
            raise bad_request(f"{words} at UTF-16 offset {offset + length}")


def _url_problem(url: str) -> str | None:
    if not url:
        return "URL host is empty"
    return None if re.match(r"(https?|tg)://[^\s/]+", url) else "Wrong HTTP URL"


def _error(reason: str) -> ApiError:
    return bad_request(f"can't parse entities: {reason}")
