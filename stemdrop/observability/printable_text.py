"""Makes text from outside safe for an operator's terminal."""

import unicodedata


def printable(text: str) -> str:
    """Return the text on one line, without control and invisible characters, which terminals may obey."""
    return " ".join("".join(" " if unicodedata.category(char)[0] == "C" else char for char in text).split())


def printable_lines(text: str) -> str:
    """Return the text without characters that terminals may obey; each line after the first is indented."""
    return "\n  ".join(
        "".join(char if char.isprintable() else " " for char in line) for line in text.split("\n")
    )
