"""Buttons of screens, in rows and on pages. Pure functions; no I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from telegram import InlineKeyboardButton
from telegram.constants import KeyboardButtonStyle

from stemdrop.chat.callback_data import Screen, ScreenTap

_Item = TypeVar("_Item")


def button(
    text: str, screen: Screen, *words: object, style: KeyboardButtonStyle | None = None
) -> InlineKeyboardButton:
    """Return a button of a screen; `ScreenTap.from_data` returns its words when it is tapped."""
    data = ScreenTap(screen, tuple(map(str, words))).to_data()
    return InlineKeyboardButton(text, callback_data=data, style=style)


@dataclass(frozen=True, slots=True)
class Page(Generic[_Item]):
    """One page of a list; pages go from 0 to `last`. `first` is the list's index of its first item."""

    items: Sequence[_Item]
    number: int
    last: int
    first: int

    def turn_buttons(self, make: Callable[[str, int], InlineKeyboardButton]) -> list[InlineKeyboardButton]:
        """Return the buttons to the pages before and after; `make` gets a label and a page's number."""
        others = (("‹", self.number - 1), ("›", self.number + 1))
        return [make(label, number) for label, number in others if 0 <= number <= self.last]


def page_of(items: Sequence[_Item], number: int, length: int) -> Page[_Item]:
    """Return the page with this number, or the nearest one if the list has none of it any more."""
    last = max(0, len(items) - 1) // length
    number = min(max(0, number), last)
    first = number * length
    return Page(items[first : first + length], number, last, first)


def in_pairs(buttons: Sequence[InlineKeyboardButton]) -> list[Sequence[InlineKeyboardButton]]:
    """Return rows of two buttons each."""
    return [buttons[start : start + 2] for start in range(0, len(buttons), 2)]
