"""The lists of instruments, of which one can be isolated. Pure functions; no I/O."""

from collections.abc import Callable, Sequence

from telegram import InlineKeyboardButton, InlineKeyboardMarkup

from stemdrop.chat.callback_data import Action, Tap
from stemdrop.chat.rendering import NO_DETAILS, Details, Rendered, cancel_row, job_button, short_title
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import Job, Mode

# Instruments on one page of the list, two per row.
PAGE_LENGTH = 8


def render_instruments(
    job: Job, translate: Language, page: int = 0, details: Details = NO_DETAILS
) -> Rendered:
    one = Mode.SPLIT_STEM_ADVANCED
    rows = instrument_rows(
        translate,
        page,
        details,
        lambda label, name: job_button(
            label, Tap(Action.PICK, job.id, one, name, credits=details.credits(one, name))
        ),
        lambda sign, other: job_button(sign, Tap(Action.INSTRUMENTS, job.id, page=other)),
    )
    price = details.instrument_price(translate)
    key = "choose_instrument" if price else "choose_instrument_free"
    text = translate(key, title=short_title(job, translate), price=price)
    back = job_button(translate("button.back"), Tap(Action.BACK, job.id))
    return text, InlineKeyboardMarkup([*rows, [back, *cancel_row(job, translate)]])


def instrument_rows(
    translate: Language,
    page: int,
    details: Details,
    pick: Callable[[str, str], InlineKeyboardButton],
    turn: Callable[[str, int], InlineKeyboardButton],
) -> list[Sequence[InlineKeyboardButton]]:
    """Return a page of the list of instruments; `pick` and `turn` make buttons of a label and its meaning."""
    can = details.abilities.can
    offered = [name for name in details.instruments if can(Mode.SPLIT_STEM_ADVANCED, name)]
    last = max(0, len(offered) - 1) // PAGE_LENGTH
    page = min(page, last)
    shown = offered[page * PAGE_LENGTH : (page + 1) * PAGE_LENGTH]
    buttons = [pick(_instrument(name, translate, details), name) for name in shown]
    others = (("‹", page - 1), ("›", page + 1))
    pages = [turn(sign, other) for sign, other in others if 0 <= other <= last]
    return [*_pairs(buttons), *_pairs(pages)]


def _instrument(name: str, translate: Language, details: Details) -> str:
    is_free = (Mode.SPLIT_STEM_ADVANCED, name) in details.free and not details.abilities.is_free
    return f"{translate.named(name)} · {translate('price.free')}" if is_free else translate.named(name)


def _pairs(buttons: Sequence[InlineKeyboardButton]) -> list[Sequence[InlineKeyboardButton]]:
    return [buttons[start : start + 2] for start in range(0, len(buttons), 2)]
