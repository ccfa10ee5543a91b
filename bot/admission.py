"""Who may ask for what, and where: the answers to those who may not."""

from telegram import Update
from telegram.constants import ChatType

from bot.answers import answer, answer_tap
from bot.context import Context


def is_private(update: Update) -> bool:
    """Whether only one person reads what is answered."""
    return update.effective_chat is not None and update.effective_chat.type == ChatType.PRIVATE


async def is_for_admin(update: Update, context: Context) -> bool:
    """Whether an admin asks, in private; everybody else is told, but not in groups, where others read it."""
    message, query = update.effective_message, update.callback_query
    if context.person.is_admin and is_private(update):
        return True
    if query:
        await answer_tap(query, context.say("admin.only"))
    elif message and context.person.is_admin:
        await answer(message, context.say("ask_in_private"))
    elif message and is_private(update):
        await answer(message, context.say("admin.only"))
    return False
