"""Telegram's HTML: only the tags it names, properly nested, everything else escaped.

Rules: core.telegram.org/bots/api#html-style; the words of the refusals are TDLib's
(td/telegram/MessageEntity.cpp). Two things are stricter here than there: an unescaped `&` is refused, and
so is an attribute nobody knows.
"""

import re
from typing import Any, NoReturn

from sandbox.telegram.errors import bad_request

_TYPES = {
    "a": "text_link",
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
    "tg-emoji": "custom_emoji",
}
_ATTRIBUTES = {
    "a": {"href"},
    "span": {"class"},
    "code": {"class"},
    "blockquote": {"expandable"},
    "tg-emoji": {"emoji-id"},
}
_CHARACTERS = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_TOKEN = re.compile(r"<(?P<tag>[^<>]*)>|&(?P<entity>#\d{1,7}|#x[0-9a-fA-F]{1,6}|[a-z]{1,8});|(?P<bad>[<&])")
_ATTRIBUTE = re.compile(r"""\s+([a-zA-Z-]+)(?:\s*=\s*("[^"]*"|'[^']*'|[A-Za-z0-9./_:-]+))?""")


def parse_html(source: str) -> tuple[str, list[dict[str, Any]]]:
    """Plain text and entities of `source`; raises 400 `can't parse entities: …` with the byte offset."""
    text = ""
    open_tags: list[tuple[str, dict[str, str], int]] = []
    entities: list[dict[str, Any]] = []
    position = 0
    for token in _TOKEN.finditer(source):
        text += source[position : token.start()]
        position = token.end()
        offset = len(source[: token.start()].encode())
        if token["bad"] == "<":
            _refuse(f"Unclosed start tag at byte offset {offset}")
        elif token["bad"]:
            _refuse(f"Unescaped '&' at byte offset {offset}")
        elif token["entity"]:
            text += _character(token["entity"], offset)
        elif token["tag"].startswith("/"):
            name, attributes, start = _closed(token["tag"][1:].strip().lower(), open_tags, offset)
            is_repeated = name == "code" and any(opened[0] == "pre" for opened in open_tags)
            if _utf16(text) > start and not is_repeated:
                entities += _entity(name, attributes, start, _utf16(text) - start)
        else:
            name, attributes = _start_tag(token["tag"], offset)
            open_tags.append((name, attributes, _utf16(text)))
    text += source[position:]
    if open_tags:
        _refuse(f'Can\'t find end tag corresponding to start tag "{open_tags[-1][0]}"')
    return text, sorted(entities, key=lambda entity: (entity["offset"], -entity["length"]))


def _start_tag(tag: str, offset: int) -> tuple[str, dict[str, str]]:
    name = re.split(r"\s", tag, maxsplit=1)[0]
    rest, name = tag[len(name) :], name.lower()
    if name not in _TYPES:
        _refuse(f'Unsupported start tag "{name}" at byte offset {offset}')
    attributes = {
        key.lower(): value.strip("\"'")
        for key, value in (match.groups(default="") for match in _ATTRIBUTE.finditer(rest))
    }
    known = _ATTRIBUTES.get(name, set())
    if _ATTRIBUTE.sub("", rest).strip() or not attributes.keys() <= known:
        _refuse(f'Unexpected attribute in the tag "{name}" at byte offset {offset}')
    if name == "span" and attributes.get("class") != "tg-spoiler":
        _refuse(f'Tag "span" must have class "tg-spoiler" at byte offset {offset}')
    return name, attributes


def _closed(
    name: str, open_tags: list[tuple[str, dict[str, str], int]], offset: int
) -> tuple[str, dict[str, str], int]:
    if not open_tags:
        _refuse(f"Unexpected end tag at byte offset {offset}")
    expected = open_tags[-1][0]
    if name and name != expected:
        _refuse(f'Unmatched end tag at byte offset {offset}, expected "</{expected}>", found "</{name}>"')
    return open_tags.pop()


def _entity(name: str, attributes: dict[str, str], start: int, length: int) -> list[dict[str, Any]]:
    """The entity of a closed tag; none for a link that leads nowhere, whose text Telegram keeps."""
    entity: dict[str, Any] = {"type": _TYPES[name], "offset": start, "length": length}
    if name == "a":
        if not attributes.get("href"):
            return []
        entity["url"] = attributes["href"].replace("&amp;", "&")
    elif name == "tg-emoji":
        entity["custom_emoji_id"] = attributes.get("emoji-id", "")
    elif name == "blockquote" and "expandable" in attributes:
        entity["type"] = "expandable_blockquote"
    return [entity]


def _character(name: str, offset: int) -> str:
    if name.startswith("#x"):
        return chr(int(name[2:], 16))
    if name.startswith("#"):
        return chr(int(name[1:]))
    if name not in _CHARACTERS:
        _refuse(f'Unsupported entity "&{name};" at byte offset {offset}')
    return _CHARACTERS[name]


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _refuse(reason: str) -> NoReturn:
    raise bad_request(f"can't parse entities: {reason}")
