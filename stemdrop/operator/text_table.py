"""Text for an operator's terminal: columns that fit, and nobody's words that it would obey."""

from collections.abc import Mapping, Sequence

from rich.cells import cell_len, set_cell_size

from stemdrop.observability.printable_text import printable


def table(
    rows: Sequence[Mapping[str, str]], width: int | None = None, narrowest: Mapping[str, int] | None = None
) -> list[str]:
    """A head and one line a row, with columns as wide as what is in them.

    Where that is wider than `width` cells, the columns that `narrowest` names are cut, one after the other,
    to no fewer cells than it says.
    """
    if not rows:
        return []
    columns = {name: [name, *(printable(row[name]) for row in rows)] for name in rows[0]}
    widths = {name: max(map(cell_len, column)) for name, column in columns.items()}
    for name, least in (narrowest or {}).items():
        excess = sum(widths.values()) + 2 * (len(widths) - 1) - (width or 0)
        if width and excess > 0 and name in widths:
            widths[name] = max(min(widths[name], least), widths[name] - excess)
    return [
        "  ".join(
            set_cell_size(shortened(column[number], widths[name]), widths[name])
            for name, column in columns.items()
        ).rstrip()
        for number in range(len(rows) + 1)
    ]


def shortened(text: str, cells: int) -> str:
    """The text, or as much of it as fits into so many cells with an ellipsis."""
    return text if cell_len(text) <= cells else f"{set_cell_size(text, cells - 1).rstrip()}…"
