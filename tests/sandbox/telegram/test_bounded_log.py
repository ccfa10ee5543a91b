"""The log of calls and events: what it keeps, and how it counts."""

from sandbox.telegram.bounded_log import BoundedLog


def test_the_latest_entries_are_kept_with_their_numbers() -> None:
    log: BoundedLog[str] = BoundedLog(max_entries=3, max_bytes=100)
    for text in "abcde":
        log.append(text)
    assert (list(log), log[-1], log[:2], log.last_number) == (["c", "d", "e"], "e", ["c", "d"], 5)
    assert log.after(0) == log.after(2) == [(3, "c"), (4, "d"), (5, "e")]
    assert (log.after(4), log.after(5), log.after(9)) == ([(5, "e")], [], [])
    assert [log.has_all_after(number) for number in (0, 1, 2, 5)] == [False, False, True, True]
    log.append("x" * 94)
    assert log.after(0) == [(5, "e"), (6, "x" * 94)]
    log.append("x" * 200)  # is not kept itself
    assert (list(log), log.last_number) == ([], 7)
    log.append("f")
    log.clear()
    log.append("g")
    assert log.after(0) == [(9, "g")]
