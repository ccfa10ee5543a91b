"""What every provider's requests share: pauses that are asked for."""

import pytest

from stemdrop.provider.http_calls import retry_after_s

NOW = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize(
    ("value", "pause_s"),
    [
        *(("7", 7), (" 120 ", 120), ("0", 0), ("1.5", 1.5)),
        *(("Wed, 21 Oct 2015 07:28:30 GMT", 30), ("Wednesday, 21-Oct-15 07:28:30 GMT", 30)),
        ("Wed, 21 Oct 2015 09:28:30 +0200", 30),
        *(("Wed Oct 21 07:28:30 2015", 30), ("Wed, 21 Oct 2015 07:00:00 GMT", 0)),
        *(("", None), ("soon", None), ("-3", None), ("9" * 400, None), ("nan", None), ("٣", None)),
        *(("Wed, 99 Oct 2015 07:28:30 GMT", None), ("Wed, 21 Oct 99999999999 07:28:30 GMT", None)),
    ],
)
def test_a_pause_is_read_as_seconds_or_as_a_date(value: str, pause_s: float | None) -> None:
    assert retry_after_s({"retry-after": value}, lambda: NOW) == pause_s


def test_without_the_header_no_pause_is_asked_for() -> None:
    assert retry_after_s({}) is None
