"""The buttons of mixing desks, and those below a result that open them. Pure functions; no I/O."""

from telegram import InlineKeyboardButton, WebAppInfo
from telegram.constants import KeyboardButtonStyle

from stemdrop.chat.callback_data import RemixAction, Screen
from stemdrop.chat.screen_buttons import button
from stemdrop.chat.translations import Language


def remix_button(
    text: str, action: RemixAction, target_id: str, *words: object, style: KeyboardButtonStyle | None = None
) -> InlineKeyboardButton:
    """Return a button for a job's desk, or to cancel a remix; `target_id` is the id of the job or remix."""
    return button(text, Screen.REMIX, action, target_id, *words, style=style)


def remix_row(job_id: str, mixer_url: str, translate: Language) -> list[InlineKeyboardButton]:
    """Return the buttons that open the desk and, if there is a URL, the mixer."""
    row = [remix_button(translate("button.remix"), RemixAction.OPEN, job_id)]
    if mixer_url:
        row.append(InlineKeyboardButton(translate("button.mixer"), web_app=WebAppInfo(mixer_url)))
    return row
