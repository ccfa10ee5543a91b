"""Text that came from outside, made safe for an operator's terminal."""

import unicodedata


def printable(text: str) -> str:
    """Return the text on one line, without control and invisible characters, which a terminal would obey."""
    return " ".join("".join(" " if unicodedata.category(sign)[0] == "C" else sign for sign in text).split())
