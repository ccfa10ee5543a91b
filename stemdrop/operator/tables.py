"""Tables for an operator's terminal, drawn by rich without colours or lines. No I/O."""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stemdrop.observability.printable_text import printable

# Nothing is cut if the output is no terminal.
_UNLIMITED = 10_000


# Columns that are cut in a narrow terminal, the widest first; all others stay whole.
_FLEXIBLE = frozenset({"FOR", "HOST", "STATE", "TASK", "TASK WAS", "TITLE", "WHAT"})


def table_lines(
    headings: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None
) -> list[str]:
    """Return the headings and one line per row, at most `width` cells wide; nothing if there are no rows.

    Cells may hold text from outside: control characters are removed, and rich does not read it as markup.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
    for heading in headings:
        table.add_column(_cell(heading), no_wrap=heading not in _FLEXIBLE)
    for row in rows:
        table.add_row(*map(_cell, row))
    if not table.row_count:
        return []
    console = Console(width=width or _UNLIMITED, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def _cell(text: str) -> Text:
    return Text(printable(text), no_wrap=True, overflow="ellipsis")


def shortened(text: str, cells: int) -> str:
    """Return the text, cut with an ellipsis to `cells` cells if it is longer."""
    return text if cell_len(text) <= cells else f"{set_cell_size(text, cells - 1).rstrip()}…"
