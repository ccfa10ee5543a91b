"""The names of songs and stems in sentences, in players, and as files on every system."""

import re
import unicodedata

MAX_NAME = 120
# Bot API: a caption has at most 1,024 characters.
MAX_CAPTION = 1000
# File systems allow names of 255 bytes; a second download appends some.
_MAX_BYTES = 240
_CONTROLS = dict.fromkeys([*range(32), *range(127, 160), 0x2028, 0x2029, 0xFEFF], " ")
# Characters that some system forbids in names, or that make a name look like another one.
_FORBIDDEN = {
    **dict.fromkeys(map(ord, '/\\:*?"<>|'), "_"),
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)]),
}
# Names of devices on Windows, with any extension (learn.microsoft.com, Naming Files).
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d) *(\.|$)", re.IGNORECASE | re.ASCII)
# Invisible characters, and those that change the direction of the text after the title.
_DIRECTIONS = dict.fromkeys([0x200B, 0x200E, 0x200F, 0x2060, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
# What Telegram turns into links (td, `MessageEntity.cpp`): not `</b>`, but `<@name>`.
_LINKED = re.compile(r"(?<!\w)@(?=\w)|#(?=\w)|(?<![\w<])/(?=\w)")
_JOINER = "\u200d"


def plain(text: str) -> str:
    """Return the text as one line without control characters."""
    return " ".join(text.translate(_CONTROLS).split())


def visible(text: str) -> str:
    """Return one line without changes of direction; empty if nothing in it is visible."""
    text = plain(text.translate(_DIRECTIONS))
    return "" if all(unicodedata.category(sign)[0] in "CZ" for sign in text) else text


def in_sentence(text: str, length: int) -> str:
    """Return a user's words for a message of ours, at most `length` characters; invisible words become empty.

    Telegram will not turn `@name`, `#tag` and `/command` in it into links.
    """
    return cut(_LINKED.sub("\\g<0>\u2060", visible(text)), length)


def title(song: str, stem: str, nameless: str) -> str:
    """Return `<title> (<stem>)`; no title becomes `nameless`, a long one is cut, the stem is not."""
    return _named(visible(song) or nameless, stem, MAX_NAME)


def file_name(song: str, stem: str, extension: str, nameless: str) -> str:
    """Return the title as a file name that every system accepts."""
    name, stem = _allowed(song) or nameless, plain(stem).translate(_FORBIDDEN)
    length = MAX_NAME - len(extension)
    shortest = len(stem) + 5
    size = _MAX_BYTES - len(extension)
    while len(_named(name, stem, length).encode(errors="replace")) > size and length > shortest:
        length -= 1
    return _named(name, stem, length) + extension


def archive_name(song: str, nameless: str) -> str:
    """Return `<title>.zip` as a file name that every system accepts."""
    name = _allowed(song) or nameless
    length = MAX_NAME - len(".zip")
    while len(cut(name, length).encode(errors="replace")) > _MAX_BYTES - len(".zip"):
        length -= 1
    return cut(name, length) + ".zip"


def cut(text: str, length: int) -> str:
    """Return the text, cut with an ellipsis if it is too long; a composed character is not cut apart."""
    if len(text) <= length:
        return text
    end = length - 1
    while end > 0 and _belong_together(text, end):
        end -= 1
    return text[: end or length - 1].rstrip() + "…"


def _allowed(song: str) -> str:
    """Return the beginning of a file name that every system accepts; may be empty."""
    name = visible(song).translate(_FORBIDDEN).lstrip(". ")
    if not name.strip("_. "):
        return ""
    return f"_{name}" if _DEVICE.match(name) else name


def _named(song: str, stem: str, length: int) -> str:
    return f"{cut(song, length - len(stem) - 3)} ({stem})".lstrip()


def _belong_together(text: str, index: int) -> bool:
    """Whether the character at `index` and the one before it are shown as one."""
    before, here = text[index - 1], text[index]
    if _JOINER in (before, here) or unicodedata.category(here).startswith("M"):
        return True
    if "\U0001f3fb" <= here <= "\U0001f3ff" or "\U000e0020" <= here <= "\U000e007f":  # skin tones, tags
        return True
    if _is_regional(here):  # flags are pairs of letters
        start = index
        while start > 0 and _is_regional(text[start - 1]):
            start -= 1
        return (index - start) % 2 == 1
    return False


def _is_regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
