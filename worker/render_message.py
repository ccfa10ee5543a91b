"""`RenderMessage`: the message that shows the progress of a remix until the remix is sent."""

import logging
from dataclasses import dataclass

from telegram import InlineKeyboardMarkup
from telegram.error import TelegramError
from telegram.ext import ExtBot

from stemdrop.chat.callback_data import RemixAction
from stemdrop.chat.remix_buttons import remix_button
from stemdrop.chat.replies import delete_or_shorten, edit_text, send_text
from stemdrop.errors import TryLater
from stemdrop.storage.remixes import Remixes
from worker.render_order import RenderOrder

log = logging.getLogger(__name__)

# Progress is not worth a wait for Telegram's limits.
_PROGRESS_PATIENCE_S = 0.1


@dataclass
class RenderMessage:
    bot: ExtBot[float]
    remixes: Remixes

    async def begin(self, order: RenderOrder, *, must_wait: bool) -> None:
        """Show that the remix is being made, with a button to cancel it. Raises `TelegramError`."""
        key = "remix.waiting" if must_wait else "remix.making"
        try:
            await self._edit_or_send(order, order.translate(key, title=order.name), _cancel_button(order))
        except TryLater as error:
            log.info("job %s: its remix is made without a message: %s", order.job.id, error)

    async def show_progress(self, order: RenderOrder, share: float) -> None:
        """Show how much of the remix is made (`share`, from 0 to 1), if Telegram takes the edit at once."""
        if not order.message_id:
            return
        percent = order.translate.percent(share)
        text = order.translate("remix.making_at", title=order.name, percent=percent)
        try:
            await edit_text(
                self.bot,
                order.job.chat_id,
                order.message_id,
                text,
                _cancel_button(order),
                _PROGRESS_PATIENCE_S,
            )
        except (TelegramError, TryLater) as error:
            log.debug("job %s: the progress of its remix is not shown: %s", order.job.id, error)

    async def end(self, order: RenderOrder, text: str = "", *, can_change: bool = False) -> None:
        """Replace the message by a text, or remove it. Raises `TelegramError` or `TryLater`."""
        if text:
            await self._edit_or_send(order, text, change_button(order) if can_change else None)
        elif order.message_id:
            job = order.job
            await delete_or_shorten(self.bot, job.chat_id, order.message_id, f"🎚 {order.name}")

    async def _edit_or_send(
        self, order: RenderOrder, text: str, keyboard: InlineKeyboardMarkup | None
    ) -> None:
        job = order.job
        if order.message_id and await edit_text(self.bot, job.chat_id, order.message_id, text, keyboard):
            return
        message = await send_text(self.bot, job, text, keyboard)
        order.message_id = message.message_id
        await self.remixes.note_message(order.remix.id, job.chat_id, message.message_id)


def change_button(order: RenderOrder) -> InlineKeyboardMarkup:
    """Return the button that opens the job's mixing desk."""
    text = order.translate("button.change_remix")
    return InlineKeyboardMarkup([[remix_button(text, RemixAction.OPEN, order.job.id)]])


def _cancel_button(order: RenderOrder) -> InlineKeyboardMarkup:
    text = order.translate("button.cancel")
    return InlineKeyboardMarkup([[remix_button(text, RemixAction.CANCEL, order.remix.id)]])
