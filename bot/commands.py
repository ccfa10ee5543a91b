"""`/start`, `/help`, `/cancel`, and the short answer to everything that is neither command nor song."""

from telegram import Bot, BotCommand, Message, MessageEntity, Update
from telegram.constants import ChatType
from telegram.ext import CallbackContext

from bot.answers import answer
from bot.menu import CANCELLABLE, cancel
from bot.sources import MAX_DURATION_S
from bot.uploads import megabytes
from stemdrop.status import StatusMessage
from stemdrop.store import JobStore
from stemdrop.texts import FALLBACK, Texts

COMMANDS = ("start", "help", "cancel")
# Telegram's codes for our catalogues where they differ.
_TELEGRAM_CODES = {"zh_Hans": "zh"}


class Commands:
    """The handlers for commands and for everything else. `max_bytes` is what `/help` names as the limit."""

    def __init__(self, store: JobStore, status: StatusMessage, texts: Texts, max_bytes: int) -> None:
        self._store = store
        self._status = status
        self._texts = texts
        self._max_bytes = max_bytes

    async def start(self, update: Update, _context: CallbackContext) -> None:  # type: ignore[type-arg]
        """Say what this is."""
        await self._reply(update, "start")

    async def help(self, update: Update, _context: CallbackContext) -> None:  # type: ignore[type-arg]
        """Say how it works and what it takes."""
        say = self._texts.language(_language_code(update))
        size = megabytes(self._max_bytes, say)
        await self._reply(update, "help", size=size, minutes=MAX_DURATION_S // 60)

    async def cancel(self, update: Update, _context: CallbackContext) -> None:  # type: ignore[type-arg]
        """Cancel every job of this user in this chat that has no result yet."""
        message, user = update.effective_message, update.effective_user
        if message is None or user is None:
            return
        jobs = await self._store.jobs_of(user.id)
        mine = [job for job in jobs if job.chat_id == message.chat_id and job.state in CANCELLABLE]
        done = [job for job in mine if await cancel(job, self._store)]
        for job in done:
            await self._status.refresh(job.id)
        say = self._texts.language(user.language_code)
        text = say.plural("cancel.done", len(done)) if done else say("cancel.nothing")
        await answer(message, text)

    async def unknown(self, update: Update, _context: CallbackContext) -> None:  # type: ignore[type-arg]
        """A command that is not ours; in groups it may be meant for another bot."""
        if _is_private(update):
            await self._reply(update, "other.command")

    async def anything(self, update: Update, _context: CallbackContext) -> None:  # type: ignore[type-arg]
        """Everything else a person may send; in groups people talk with each other."""
        message = update.effective_message
        if message is not None and _is_private(update):
            await self._reply(update, _hint(message))

    async def _reply(self, update: Update, key: str, **values: object) -> None:
        if message := update.effective_message:
            say = self._texts.language(_language_code(update))
            await answer(message, say(key, **values))


async def register_commands(bot: Bot, texts: Texts) -> None:
    """Tell Telegram the list of commands, per language. Raises `TelegramError`."""
    for code, say in texts.languages.items():
        commands = [BotCommand(name, say(f"command.{name}")) for name in COMMANDS]
        language = None if code == FALLBACK else _TELEGRAM_CODES.get(code, code)
        await bot.set_my_commands(commands, language_code=language)


def _hint(message: Message) -> str:
    if message.parse_entities([MessageEntity.URL, MessageEntity.TEXT_LINK]):
        return "other.link"
    return "other.text" if message.text else "other.anything"


def _is_private(update: Update) -> bool:
    return update.effective_chat is not None and update.effective_chat.type == ChatType.PRIVATE


def _language_code(update: Update) -> str | None:
    return update.effective_user.language_code if update.effective_user else None
