"""What an operator reads: every failure in words, times that need no counting, columns that fit."""

import pytest
from rich.cells import cell_len

from stemdrop.domain.failures import REMEDIES
from stemdrop.observability.printable_text import printable
from stemdrop.operator.job_data import MEANINGS
from stemdrop.operator.job_tables import span
from stemdrop.operator.text_table import shortened, table


def test_every_failure_has_words_for_the_operator() -> None:
    assert MEANINGS.keys() == REMEDIES.keys()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h00m"), (11_220, "3h07m")),
        *((86_399, "23h59m"), (86_400, "1d00h"), (30 * 86_400 + 4 * 3600, "30d04h")),
    ],
)
def test_a_time_in_a_column(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    rows = [{"ID": "1", "TITLE": "歌", "LAST": "x"}, {"ID": "22", "TITLE": "abcdef", "LAST": ""}]
    assert table(rows) == ["ID  TITLE   LAST", "1   歌      x", "22  abcdef"]
    assert table([]) == []


def test_columns_are_cut_in_their_order_and_never_below_their_least() -> None:
    rows = [{"ID": "0123456789", "FIRST": "a" * 20, "THEN": "b" * 20}]
    least = {"THEN": 10, "FIRST": 10}
    assert table(rows, 54, least)[1] == f"0123456789  {'a' * 20}  {'b' * 20}"
    assert table(rows, 50, least)[1] == f"0123456789  {'a' * 20}  {'b' * 15}…"
    assert table(rows, 40, least)[1] == f"0123456789  {'a' * 15}…  {'b' * 9}…"
    assert table(rows, 10, least)[1] == f"0123456789  {'a' * 9}…  {'b' * 9}…"


def test_a_sign_of_two_cells_is_not_cut_through() -> None:
    for cells in range(2, 12):
        assert cell_len(shortened("歌のタイトル", cells)) <= cells
    assert shortened("歌のタイトル", 12) == "歌のタイトル"


def test_what_a_terminal_obeys_is_not_printed() -> None:
    assert printable("\x1b[31mred\x9b2J\r\n\tnext\u202eevil\u200b\x00") == "[31mred 2J next evil"
    assert printable(" José  歌 🎵 ") == "José 歌 🎵"
