"""Makes text from outside safe for an operator's terminal."""

import unicodedata


def printable(text: str) -> str:
    """Return the text on one line, without control and invisible characters, which terminals may obey."""
    if not text.isprintable():  # looking at each character takes longer than the rest of a log line
        text = "".join(" " if unicodedata.category(char)[0] == "C" else char for char in text)
    return " ".join(text.split())


def printable_lines(text: str) -> str:
    """Return the text without characters that terminals may obey; each line after the first is indented."""
    return "\n  ".join(map(_printable_line, text.split("\n")))


def _printable_line(line: str) -> str:
    return line if line.isprintable() else "".join(char if char.isprintable() else " " for char in line)
