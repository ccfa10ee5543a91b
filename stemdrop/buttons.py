"""Meaning ↔ `callback_data` of the buttons (at most 64 bytes). Everything a tap needs is in the button
or in Redis, so buttons work after a restart."""

from dataclasses import dataclass
from enum import StrEnum

from stemdrop.jobs import INSTRUMENTS, Mode


class Action(StrEnum):
    """What a button does; the value is its letter in `callback_data`."""

    PICK = "p"  # choose a mode, with an instrument's number for one instrument
    INSTRUMENTS = "i"  # open the list of instruments
    BACK = "b"  # from that list back to the modes
    CANCEL = "x"
    RETRY = "r"  # a new job for the same song and mode
    FETCH_AGAIN = "f"  # fetch stems that are still missing


_LETTERS = {Mode.SEPARATE_VOCAL: "v", Mode.SPLIT_STEM: "s", Mode.SPLIT_STEM_ADVANCED: "a"}
_MODES = {letter: mode for mode, letter in _LETTERS.items()}


@dataclass(frozen=True, slots=True)
class Tap:
    """A button's meaning. `instrument` is empty but for a picked `SPLIT_STEM_ADVANCED`."""

    action: Action
    job_id: str
    mode: Mode | None = None
    instrument: str = ""

    def to_data(self) -> str:
        """As `callback_data`: `p:<job>:a3`."""
        if self.mode is None:
            return f"{self.action}:{self.job_id}"
        number = str(INSTRUMENTS.index(self.instrument)) if self.instrument else ""
        return f"{self.action}:{self.job_id}:{_LETTERS[self.mode]}{number}"

    @classmethod
    def from_data(cls, data: str) -> "Tap | None":
        """The reverse; `None` for data that no button of this version carries."""
        letter, _, rest = data.partition(":")
        job_id, _, choice = rest.partition(":")
        if letter not in set(Action) or not job_id:
            return None
        action = Action(letter)
        if action is not Action.PICK:
            return cls(action, job_id) if not choice else None
        mode, number = _MODES.get(choice[:1]), choice[1:]
        if mode is None or (mode is Mode.SPLIT_STEM_ADVANCED) != bool(number):
            return None
        if not number:
            return cls(action, job_id, mode)
        if not (number.isascii() and number.isdigit() and int(number) < len(INSTRUMENTS)):
            return None
        return cls(action, job_id, mode, INSTRUMENTS[int(number)])
