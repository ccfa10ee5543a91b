"""A button's meaning goes into 64 bytes and comes back; anything else means nothing."""

import pytest

from stemdrop.buttons import Action, Tap
from stemdrop.jobs import INSTRUMENTS, Mode

JOB = "0123456789abcdef"
TAPS = [
    *(Tap(action, JOB) for action in Action if action is not Action.PICK),
    Tap(Action.PICK, JOB, Mode.SEPARATE_VOCAL),
    Tap(Action.PICK, JOB, Mode.SPLIT_STEM),
    *(Tap(Action.PICK, JOB, Mode.SPLIT_STEM_ADVANCED, name) for name in INSTRUMENTS),
]


@pytest.mark.parametrize("tap", TAPS, ids=lambda tap: tap.to_data()[:1] + tap.to_data()[18:])
def test_a_tap_comes_back(tap: Tap) -> None:
    data = tap.to_data()
    assert len(data.encode()) <= 64
    assert Tap.from_data(data) == tap


def test_no_two_buttons_look_alike() -> None:
    assert len({tap.to_data() for tap in TAPS}) == len(TAPS)


@pytest.mark.parametrize(
    "data",
    [
        *("", ":", "::", ":::", "p", "p:", "p::", "p::v", "x", "x:", "q:job", "P:job:v", "px:job", " x:job"),
        *(f"p:{JOB}", f"p:{JOB}:", f"p:{JOB}:x", f"p:{JOB}:a", f"p:{JOB}:v0", f"p:{JOB}:s1", f"p:{JOB}:V"),
        *(f"p:{JOB}:a{len(INSTRUMENTS)}", f"p:{JOB}:a-1", f"p:{JOB}:a1.5", f"p:{JOB}:a²", f"p:{JOB}:a١"),
        *(f"p:{JOB}:a{'9' * 50}", f"p:{JOB}:v:", f"p:{JOB}:v:v", f"x:{JOB}:v", f"x:{JOB}:0", f"b:{JOB}:a1"),
        *("\x00", "🎵", "\ud800", "{}", "[]", "null", "x" * 64, "p:" + "x" * 62, "retry", "cancel:17"),
        *(f"p:{JOB}:a 1", f"p:{JOB}:a1 ", f"p:{JOB}:a+1", f"p:{JOB}:a1_0"),
    ],
)
def test_garbage_means_nothing(data: str) -> None:
    assert Tap.from_data(data) is None
