"""What Telegram's clients let people type: names, titles, texts and captions of limited length."""

import re

from sandbox.telegram.entities import CAPTION_LIMIT, TEXT_LIMIT, utf16_length
from sandbox.telegram.errors import PersonError

NAME_LIMIT = 64  # core.telegram.org/tdlib: setName, createNewBasicGroupChat, createForumTopic
TITLE_LIMIT = 128


def check_name(name: str, last_name: str | None, username: str | None) -> None:
    """Raise `PersonError` unless a person can have these names."""
    _check("first name", name, NAME_LIMIT)
    if last_name:
        _check("last name", last_name, NAME_LIMIT)
    if username is not None and not re.fullmatch(r"[A-Za-z]\w{3,31}", username, re.ASCII):
        raise PersonError("a username is 4 to 32 letters, digits and underscores, and begins with a letter")


def check_title(title: str) -> None:
    """Raise `PersonError` unless a group, a channel or a topic can have this title."""
    _check("title", title, TITLE_LIMIT)


def check_text(text: str) -> None:
    """Raise `PersonError` unless a message can have this text."""
    _check("text", text, TEXT_LIMIT)


def check_caption(caption: str) -> None:
    """Raise `PersonError` unless a file can have this caption, which may be empty."""
    if caption:
        _check("caption", caption, CAPTION_LIMIT)


def _check(what: str, text: str, limit: int) -> None:
    if not text.strip():
        raise PersonError(f"the {what} is empty")
    if (length := utf16_length(text)) > limit:
        raise PersonError(f"the {what} has {length} characters, and Telegram allows {limit}")
