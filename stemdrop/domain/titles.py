"""How songs and stems are called: in sentences, in players, and as files on whatever device."""

import re
import unicodedata

MAX_NAME = 120
# Bot API: a caption has at most 1,024 characters.
MAX_CAPTION = 1000
# What file systems take at most in a name (255 bytes), less what a second download of it appends.
_MAX_BYTES = 240
_CONTROLS = dict.fromkeys([*range(32), *range(127, 160), 0x2028, 0x2029, 0xFEFF], " ")
# In no name on some system; and what makes a name look like another one is left out.
_FORBIDDEN = {
    **dict.fromkeys(map(ord, '/\\:*?"<>|'), "_"),
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)]),
}
# To Windows these are devices, whatever follows behind a dot (learn.microsoft.com, Naming Files).
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d) *(\.|$)", re.IGNORECASE | re.ASCII)
# Signs that turn the direction of what follows, or that nobody sees: a title must not reach beyond itself.
_DIRECTIONS = dict.fromkeys([0x200B, 0x200E, 0x200F, 0x2060, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
# What Telegram makes links of, by its own code (td, `MessageEntity.cpp`): not `</b>`, but `<@name>`.
_LINKED = re.compile(r"(?<!\w)@(?=\w)|#(?=\w)|(?<![\w<])/(?=\w)")
_JOINER = "\u200d"


def plain(text: str) -> str:
    """One line of it, without signs that nobody sees."""
    return " ".join(text.translate(_CONTROLS).split())


def in_sentence(text: str, length: int) -> str:
    """Somebody's words within a message of ours; empty where there is nothing to see in them.

    Telegram makes links of `@name`, `#tag` and `/command`: not of these.
    """
    return cut(_LINKED.sub("\\g<0>\u2060", _visible(text)), length)


def title(song: str, stem: str, nameless: str) -> str:
    """`<title> (<stem>)`; a song without a title is called `nameless`.

    A title that is too long is cut, the stem's name never.
    """
    return _named(_visible(song) or nameless, stem, MAX_NAME)


def file_name(song: str, stem: str, extension: str, nameless: str) -> str:
    """As the title, without what no file system takes; a song of nothing else is called `nameless`."""
    name, stem = _allowed(song) or nameless, plain(stem).translate(_FORBIDDEN)
    length = MAX_NAME - len(extension)
    shortest = len(stem) + 5
    size = _MAX_BYTES - len(extension)
    while len(_named(name, stem, length).encode(errors="replace")) > size and length > shortest:
        length -= 1
    return _named(name, stem, length) + extension


def archive_name(song: str, nameless: str) -> str:
    """`<title>.zip`, as `file_name`."""
    name = _allowed(song) or nameless
    length = MAX_NAME - len(".zip")
    while len(cut(name, length).encode(errors="replace")) > _MAX_BYTES - len(".zip"):
        length -= 1
    return cut(name, length) + ".zip"


def cut(text: str, length: int) -> str:
    """The text, or as much of it as fits with an ellipsis; a sign made of several is not cut through."""
    if len(text) <= length:
        return text
    end = length - 1
    while end > 0 and _belong_together(text, end):
        end -= 1
    return text[: end or length - 1].rstrip() + "…"


def _visible(text: str) -> str:
    """One line of it that keeps to itself; empty where there is nothing to see in it."""
    text = plain(text.translate(_DIRECTIONS))
    return "" if all(unicodedata.category(sign)[0] in "CZ" for sign in text) else text


def _allowed(song: str) -> str:
    """What of it may be the beginning of a file's name on every system; empty where that is nothing."""
    name = _visible(song).translate(_FORBIDDEN).lstrip(". ")
    if not name.strip("_. "):
        return ""
    return f"_{name}" if _DEVICE.match(name) else name


def _named(song: str, stem: str, length: int) -> str:
    return f"{cut(song, length - len(stem) - 3)} ({stem})".lstrip()


def _belong_together(text: str, index: int) -> bool:
    """Whether the character at `index` and the one before it are shown as one sign."""
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
