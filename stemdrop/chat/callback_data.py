"""The `callback_data` of buttons, at most 64 bytes.

Everything that a tap needs is in the button or in Redis, so buttons work after a restart.
"""

from dataclasses import dataclass
from enum import StrEnum

from stemdrop.domain.jobs import INSTRUMENTS, Choice, Mode


class Action(StrEnum):
    """The action of a job's button; the value is its letter in `callback_data`."""

    PICK = "p"  # choose a mode, with an instrument's number for one instrument
    INSTRUMENTS = "i"  # open the list of instruments, at a page
    BACK = "b"  # from that list back to the modes
    START = "s"  # start a song now that would start by itself
    UNDO = "u"  # let such a song wait for a choice
    CANCEL = "x"
    RESUME = "c"  # go on with a cancelled job
    RETRY = "r"  # a new job for the same song and mode
    OTHER_MODE = "o"  # a new job for the same song in another mode
    ASK_AGAIN = "a"  # ask the separation service again, whose answer was lost
    FETCH_AGAIN = "f"  # fetch stems that are still missing
    ZIP = "z"  # all stems in one file
    SMALL = "v"  # all stems as small voice messages


MODE_LETTERS = {Mode.SEPARATE_VOCAL: "v", Mode.SPLIT_STEM: "s", Mode.SPLIT_STEM_ADVANCED: "a"}
MODES_BY_LETTER = {letter: mode for mode, letter in MODE_LETTERS.items()}


def choice_word(mode: Mode, instrument: str = "") -> str:
    """Encode a choice, as in `v` and `a3`."""
    return f"{MODE_LETTERS[mode]}{INSTRUMENTS.index(instrument) if instrument else ''}"


def choice_of_word(word: str) -> Choice | None:
    """Decode a word of `choice_word`; `None` if no button of this version has the word."""
    mode, number = MODES_BY_LETTER.get(word[:1]), word[1:]
    if mode is None or (mode is Mode.SPLIT_STEM_ADVANCED) != bool(number):
        return None
    if not number:
        return mode, ""
    is_known = _is_number(number) and int(number) < len(INSTRUMENTS)
    return (mode, INSTRUMENTS[int(number)]) if is_known else None


# A call costs at most 1,000,000 credits (`provider/sunoapi/abilities.py`), an album's songs together more.
_CREDITS_DIGITS = 9


def credits_word(credits: int) -> str:
    """Encode the price that a button shows, as in `c20`."""
    return f"c{credits}"


def credits_of_word(word: str) -> int | None:
    """Decode a word of `credits_word`; `None` if no button of this version has the word."""
    return int(word[1:]) if word[:1] == "c" and _is_number(word[1:], _CREDITS_DIGITS) else None


_WITH_MODE = (Action.PICK, Action.OTHER_MODE)
_PRICED = (*_WITH_MODE, Action.START, Action.RETRY, Action.ASK_AGAIN)


@dataclass(frozen=True, slots=True)
class Tap:
    """A tap on a job's button; `page` is a page of the list of instruments.

    `credits` is the price that the button shows; `None` on buttons without one.
    """

    action: Action
    job_id: str
    mode: Mode | None = None
    instrument: str = ""
    page: int = 0
    credits: int | None = None

    def to_data(self) -> str:
        """Encode the tap, as in `p:<job>:a3:c20`."""
        if self.page:
            return f"{self.action}:{self.job_id}:{self.page}"
        words = [self.action.value, self.job_id]
        words += [choice_word(self.mode, self.instrument)] if self.mode else []
        words += [] if self.credits is None else [credits_word(self.credits)]
        return ":".join(words)

    @classmethod
    def from_data(cls, data: str) -> "Tap | None":
        """Decode a tap; `None` for data that no button of this version has."""
        letter, _, rest = data.partition(":")
        job_id, _, choice = rest.partition(":")
        if letter not in set(Action) or not job_id:
            return None
        action, credits = Action(letter), None
        if action in _PRICED:
            first, _, last = choice.rpartition(":")
            if (credits := credits_of_word(last)) is not None:
                choice = first
        if action is Action.INSTRUMENTS and choice:
            return cls(action, job_id, page=int(choice)) if _is_number(choice) else None
        if action not in _WITH_MODE:
            return cls(action, job_id, credits=credits) if not choice else None
        chosen = choice_of_word(choice)
        return cls(action, job_id, *chosen, credits=credits) if chosen else None


class Screen(StrEnum):
    """A message that does not belong to one job; the value is its letter in `callback_data`."""

    LANGUAGE = "L"
    JOBS = "J"
    USERS = "U"
    ADMIN = "A"
    GROUP = "G"
    DELETE = "D"
    REQUESTS = "W"  # of strangers who ask for access
    ALBUM = "B"
    SETTINGS = "S"
    REMIX = "M"


class RemixAction(StrEnum):
    """A button of a mixing desk or of a remix: the first word, before the id of the job or remix."""

    CANCEL = "x"  # cancel the remix of this id
    OPEN = "d"  # show the desk of a job as a new message
    HOME = "h"  # show the presets
    PRESET = "p"  # make the preset of this word at once
    LEVELS = "l"  # show a page with the levels of stems
    LEVEL = "g"  # set a stem's level, and show a page
    TEMPO = "t"  # show speed and key
    SPEED = "s"
    SEMITONES = "k"
    COUNT_IN = "c"
    METRONOME = "m"
    PACK = "w"  # ask how the practice pack is to be sent, or send it in the chosen way
    MAKE = "o"
    PICTURE = "i"  # send a picture of the song as a new message
    RESET = "r"
    CLOSE = "e"


class SettingsAction(StrEnum):
    """A button of `/settings`, beside those for the usual mode."""

    ASK = "q"  # show the menu for each song
    AT_ONCE = "n"  # split each song in the usual mode without a tap
    INSTRUMENT = "i"  # show the list of instruments, or set the one that the user plays
    BACK = "b"  # from that list back to the settings


class AlbumAction(StrEnum):
    """A button of an album's menu, beside those for a mode."""

    SINGLY = "1"  # each song gets its own menu
    INSTRUMENTS = "i"  # open the list of instruments, at a page
    BACK = "b"  # from that list back to the menu
    CANCEL = "x"


@dataclass(frozen=True, slots=True)
class ScreenTap:
    """A tap on a screen's button; each screen defines its own `words`."""

    screen: Screen
    words: tuple[str, ...] = ()

    def to_data(self) -> str:
        """Encode the tap, as in `L:ru`."""
        return ":".join((self.screen, *self.words))

    @classmethod
    def from_data(cls, data: str) -> "ScreenTap | None":
        """Decode a tap; `None` for data of no screen."""
        letter, *words = data.split(":")
        return cls(Screen(letter), tuple(words)) if letter in set(Screen) else None


def _is_number(text: str, most_digits: int = 4) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= most_digits
