"""The lists of instruments from which the user picks the one to isolate. Pure functions; no I/O."""

from collections.abc import Callable, Sequence

from telegram import InlineKeyboardButton, InlineKeyboardMarkup

from stemdrop.chat.callback_data import Action, Tap
from stemdrop.chat.rendering import NO_DETAILS, Details, Rendered, cancel_row, job_button, short_title
from stemdrop.chat.screen_buttons import in_pairs, page_of
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import Job, Mode

# Instruments on one page of the list, two per row.
PAGE_LENGTH = 8


def render_instruments(
    job: Job, translate: Language, page: int = 0, details: Details = NO_DETAILS
) -> Rendered:
    one, price = Mode.SPLIT_STEM_ADVANCED, details.instrument_price(translate)
    rows = instrument_rows(
        page,
        details,
        lambda name: job_button(
            instrument_label(name, details.price(translate, one, name), price, translate),
            Tap(Action.PICK, job.id, one, name, credits=details.credits(one, name)),
        ),
        lambda sign, other: job_button(sign, Tap(Action.INSTRUMENTS, job.id, page=other)),
    )
    key = "choose_instrument" if price else "choose_instrument_free"
    text = translate(key, title=short_title(job, translate), price=price)
    back = job_button(translate("button.back"), Tap(Action.BACK, job.id))
    return text, InlineKeyboardMarkup([*rows, [back, *cancel_row(job, translate)]])


def instrument_rows(
    page: int,
    details: Details,
    pick: Callable[[str], InlineKeyboardButton],
    turn: Callable[[str, int], InlineKeyboardButton],
) -> list[Sequence[InlineKeyboardButton]]:
    """Return the rows of one page; `pick` makes the button of an instrument, `turn` that of another page."""
    can = details.abilities.can
    offered = [name for name in details.instruments if can(Mode.SPLIT_STEM_ADVANCED, name)]
    shown = page_of(offered, page, PAGE_LENGTH)
    return [*in_pairs([pick(name) for name in shown.items]), *in_pairs(shown.turn_buttons(turn))]


def instrument_label(name: str, price: str, usual_price: str, translate: Language) -> str:
    """Return the label of an instrument's button, with its price if that is not the usual price."""
    named = translate.named(name)
    return named if price == usual_price else f"{named} · {price}"
