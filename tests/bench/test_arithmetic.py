"""The bench's own arithmetic: ratios, targets, and what it says of those that are missed."""

from pathlib import Path

from measure import median_ratio, percentile
from rows import Row, at_least, at_most, summary, write_figures


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    assert median_ratio([10, 30, 20], [10, 10, 10]) == 2
    assert percentile([float(value) for value in range(100)], 0.99) == 99


def test_a_row_meets_all_of_its_targets_or_is_named_as_missed() -> None:
    met = Row("one", "2 MB", targets=(at_most(2, 2, " MB"), at_least(3, 2)))
    missed = Row("… two", "3 MB", targets=(at_most(3, 2, " MB"), at_least(1, 1)))
    assert met.line() == "| one | 2 MB |  | ≤ 2 MB, ≥ 2 | met: 2 MB, 3 |"
    assert missed.line() == "| … two | 3 MB |  | ≤ 2 MB, ≥ 1 | **missed**: **3 MB**, 1 |"
    assert list(summary([met, missed, Row("three", "-")])) == [
        "1 of 2 rows with a target meet it.",
        "- Missed: one … two: **3 MB**, target ≤ 2 MB.",
    ]


def test_the_table_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    marks = "before <!-- figures: written by `make bench` --> {} <!-- end of figures --> after"
    page.write_text(marks.format("old"))
    for figures in ("new", "newer"):
        write_figures(page, [figures])
    assert page.read_text().split() == marks.format("newer").split()
