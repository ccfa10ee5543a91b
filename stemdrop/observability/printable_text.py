"""Makes text from outside safe for an operator's terminal."""


def printable(text: str) -> str:
    """Return the text on one line, without control and invisible characters, which terminals may obey."""
    return " ".join(_printable_line(text).split())


def printable_lines(text: str) -> str:
    """Return the text without characters that terminals may obey; each line after the first is indented."""
    return "\n  ".join(map(_printable_line, text.split("\n")))


def _printable_line(line: str) -> str:
    # looking at each character takes longer than the rest of a log line
    return line if line.isprintable() else "".join(char if char.isprintable() else " " for char in line)
