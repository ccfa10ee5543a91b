"""Words, durations and columns of the tables that operators read."""

import pytest
from rich.cells import cell_len

from stemdrop.domain.failures import REMEDIES
from stemdrop.observability.printable_text import printable
from stemdrop.operator.job_data import MEANINGS
from stemdrop.operator.job_tables import span
from stemdrop.operator.tables import shortened, table_lines


def test_every_failure_code_has_a_meaning_for_the_operator() -> None:
    assert MEANINGS.keys() == REMEDIES.keys()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h00m"), (11_220, "3h07m")),
        *((86_399, "23h59m"), (86_400, "1d00h"), (30 * 86_400 + 4 * 3600, "30d04h")),
    ],
)
def test_a_duration_is_shown_in_two_units_at_most(seconds: float, text: str) -> None:
    assert span(seconds) == text


COLUMNS = ["ID", "TITLE", "TASK"]


def test_columns_are_as_wide_as_their_content() -> None:
    columns = ["ID", "TITLE", "LAST"]
    rows = [("1", "歌", "x"), ("22", "abcdef", "")]
    assert table_lines(columns, rows) == ["ID  TITLE   LAST", "1   歌      x", "22  abcdef"]
    assert table_lines(columns, []) == []


def test_an_id_stays_whole_where_other_columns_can_be_cut() -> None:
    row = ("0123456789", "a" * 20, "b" * 20)
    assert table_lines(COLUMNS, [row], 54)[1] == f"0123456789  {'a' * 20}  {'b' * 20}"
    for width in (50, 36):
        line = table_lines(COLUMNS, [row], width)[1]
        assert line.startswith(f"0123456789  {'a' * 9}")
        assert line.count("…") == 2
        assert cell_len(line) <= width


def test_a_cell_is_neither_markup_nor_control_characters() -> None:
    rows = [("[red]1[/red]", ":smile: \x1b[2J\nnext", "")]
    assert table_lines(COLUMNS, rows)[1] == "[red]1[/red]  :smile: [2J next"


def test_a_wide_character_is_not_cut_in_half() -> None:
    for cells in range(2, 12):
        assert cell_len(shortened("歌のタイトル", cells)) <= cells
    assert shortened("歌のタイトル", 12) == "歌のタイトル"


def test_control_characters_are_not_printed() -> None:
    assert printable("\x1b[31mred\x9b2J\r\n\tnext\u202eevil\u200b\x00") == "[31mred 2J next evil"
    assert printable(" José  歌 🎵 ") == "José 歌 🎵"
