"""A button's meaning goes into 64 bytes and comes back; anything else means nothing."""

import pytest

from stemdrop.chat.callback_data import Action, Screen, ScreenTap, Tap
from stemdrop.domain.jobs import INSTRUMENTS, Mode

JOB = "0123456789abcdef"
PICKING = (Action.PICK, Action.OTHER_MODE)
TAPS = [
    *(Tap(action, JOB) for action in Action if action not in PICKING),
    *(Tap(action, JOB, mode) for action in PICKING for mode in (Mode.SEPARATE_VOCAL, Mode.SPLIT_STEM)),
    *(Tap(action, JOB, Mode.SPLIT_STEM_ADVANCED, name) for action in PICKING for name in INSTRUMENTS),
    *(Tap(Action.INSTRUMENTS, JOB, page=page) for page in (1, 2, 9999)),
    *(Tap(action, JOB, Mode.SPLIT_STEM_ADVANCED, "Bass", credits=20) for action in PICKING),
    *(Tap(Action.RETRY, JOB, credits=credits) for credits in (0, 10_000_000)),
    Tap(Action.START, JOB, credits=10),
]


@pytest.mark.parametrize("tap", TAPS, ids=lambda tap: tap.to_data()[:1] + tap.to_data()[18:])
def test_a_tap_is_decoded_as_it_was_encoded(tap: Tap) -> None:
    data = tap.to_data()
    assert len(data.encode()) <= 64
    assert Tap.from_data(data) == tap


def test_no_two_buttons_have_the_same_data() -> None:
    assert len({tap.to_data() for tap in TAPS}) == len(TAPS)


@pytest.mark.parametrize(
    "data",
    [
        *("", ":", "::", ":::", "p", "p:", "p::", "p::v", "x", "x:", "q:job", "P:job:v", "px:job", " x:job"),
        *(f"p:{JOB}", f"p:{JOB}:", f"p:{JOB}:x", f"p:{JOB}:a", f"p:{JOB}:v0", f"p:{JOB}:s1", f"p:{JOB}:V"),
        *(f"p:{JOB}:a{len(INSTRUMENTS)}", f"p:{JOB}:a-1", f"p:{JOB}:a1.5", f"p:{JOB}:a²", f"p:{JOB}:a١"),
        *(f"p:{JOB}:a{'9' * 50}", f"p:{JOB}:v:", f"p:{JOB}:v:v", f"x:{JOB}:v", f"x:{JOB}:0", f"b:{JOB}:a1"),
        *("\x00", "🎵", "\ud800", "{}", "[]", "null", "x" * 64, "p:" + "x" * 62, "retry", "cancel:17"),
        *(f"o:{JOB}", f"o:{JOB}:", f"o:{JOB}:a", f"i:{JOB}:-1", f"i:{JOB}:10000", f"i:{JOB}:²", f"i:{JOB}:v"),
        *(f"r:{JOB}:v", f"z:{JOB}:1", f"s:{JOB}:1", "L:ru", "D:yes", "A"),
        *(
            f"x:{JOB}:c1",
            f"p:{JOB}:c1",
            f"p:{JOB}:v:c",
            f"p:{JOB}:v:c-1",
            f"p:{JOB}:v:c1:c1",
            f"r:{JOB}:v:c1",
        ),
        *(f"p:{JOB}:a 1", f"p:{JOB}:a1 ", f"p:{JOB}:a+1", f"p:{JOB}:a1_0"),
    ],
)
def test_garbage_decodes_to_no_tap(data: str) -> None:
    assert Tap.from_data(data) is None


@pytest.mark.parametrize("screen", Screen)
@pytest.mark.parametrize("words", [(), ("ru",), ("remove", "-1001000000001", "2"), ("",)])
def test_a_screen_tap_is_decoded_as_it_was_encoded(screen: Screen, words: tuple[str, ...]) -> None:
    choice = ScreenTap(screen, words)
    data = choice.to_data()
    assert len(data.encode()) <= 64
    assert ScreenTap.from_data(data) == choice
    assert Tap.from_data(data) is None


@pytest.mark.parametrize("data", ["", ":", "l:ru", "LL:ru", " L:ru", "X", "p", f"p:{JOB}:v", "\x00", "🎵:1"])
def test_garbage_decodes_to_no_screen_tap(data: str) -> None:
    assert ScreenTap.from_data(data) is None


def test_no_letter_is_both_an_action_and_a_screen() -> None:
    assert not set(Action) & set(Screen)
