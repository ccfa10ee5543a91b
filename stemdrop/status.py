"""The one message of a job: how each state reads and which buttons it has, and how it gets into the chat.

Bot and delivery both write it: who moved the job shows it.
"""

import logging
from collections.abc import Sequence

from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup
from telegram.constants import MessageLimit
from telegram.error import BadRequest, ChatMigrated

from stemdrop.buttons import Action, Tap
from stemdrop.jobs import FINAL, INSTRUMENTS, Job, JobState, Mode
from stemdrop.replies import send_in_topic
from stemdrop.store import JobStore
from stemdrop.texts import Language, Texts, can_retry

log = logging.getLogger(__name__)

# A title may be any length; in a sentence this many characters say which song is meant.
TITLE_LENGTH = 64


def short_title(job: Job, say: Language) -> str:
    """The song's title for a sentence: never empty, never long."""
    return _cut(" ".join(job.source.title.split()) or say("title.song"), TITLE_LENGTH)


def render(job: Job, say: Language, delivered: int = 0) -> tuple[str, InlineKeyboardMarkup | None]:
    """Text and buttons for the state that `job` is in; `delivered` counts the stems in the chat."""
    title = short_title(job, say)
    match job.state:
        case JobState.CHOOSING:
            return say("choose", title=title), _keyboard(_mode_rows(job, say))
        case JobState.SUBMITTING:
            return say("state.submitting", title=title), _keyboard([_cancel(job, say)])
        case JobState.SEPARATING:
            return say("state.separating", title=title), _keyboard([_cancel(job, say)])
        case JobState.DELIVERING:
            return say("state.delivering", title=title), None
        case JobState.DELIVERED:
            return _closing(job, say, title, delivered)
        case JobState.FAILED:
            return _failure(job, say)
        case JobState.CANCELLED:
            key = "state.cancelled_late" if job.create_started_at else "state.cancelled"
            return say(key, title=title), None


def render_instruments(job: Job, say: Language) -> tuple[str, InlineKeyboardMarkup]:
    """The list that 'one instrument…' opens, two in a row."""
    taps = [Tap(Action.PICK, job.id, Mode.SPLIT_STEM_ADVANCED, name) for name in INSTRUMENTS]
    buttons = [InlineKeyboardButton(say.named(tap.instrument), callback_data=tap.to_data()) for tap in taps]
    rows = [buttons[i : i + 2] for i in range(0, len(buttons), 2)]
    back = _button(say("button.back"), Tap(Action.BACK, job.id))
    text = say("choose_instrument", title=short_title(job, say))
    return text, InlineKeyboardMarkup([*rows, [back, *_cancel(job, say)]])


def render_lost(job: Job, say: Language) -> tuple[str, InlineKeyboardMarkup | None]:
    """While the create call's answer is lost and its callback may still come."""
    return say("state.waiting_lost", title=short_title(job, say)), _keyboard([_cancel(job, say)])


def _mode_rows(job: Job, say: Language) -> list[list[InlineKeyboardButton]]:
    return [
        [_button(say.mode(Mode.SEPARATE_VOCAL), Tap(Action.PICK, job.id, Mode.SEPARATE_VOCAL))],
        [_button(say.mode(Mode.SPLIT_STEM), Tap(Action.PICK, job.id, Mode.SPLIT_STEM))],
        [_button(say.mode(Mode.SPLIT_STEM_ADVANCED), Tap(Action.INSTRUMENTS, job.id))],
        _cancel(job, say),
    ]


def _closing(job: Job, say: Language, title: str, delivered: int) -> tuple[str, InlineKeyboardMarkup | None]:
    if delivered:
        lines = [say.plural("state.delivered", delivered, title=title)]
    else:
        lines = [say("state.only_links" if job.links else "state.none_delivered", title=title)]
    for key, names in (("state.missing", job.missing), ("state.refused", job.refused)):
        if names:
            lines.append(_cut(say(key, names=", ".join(names)), 800))
    links = [say("state.link", name=name, url=url) for name, url in job.links]
    again = [[_button(say("button.fetch_again"), Tap(Action.FETCH_AGAIN, job.id))]] if job.missing else []
    return _fitting(lines, links), _keyboard(again)


def _fitting(lines: list[str], links: list[str]) -> str:
    """One text that Telegram takes, with as many of the links as have room: half a link leads nowhere."""
    text = "\n".join(lines)
    for line in links:
        longer = f"{text}\n{line}"
        # Telegram counts UTF-16 units
        if len(longer.encode("utf-16-le")) // 2 <= MessageLimit.MAX_TEXT_LENGTH:
            text = longer
    return text


def _failure(job: Job, say: Language) -> tuple[str, InlineKeyboardMarkup | None]:
    if job.failure is None:
        raise ValueError(f"job {job.id} has failed without a reason")
    if job.is_undelivered:
        again = [[_button(say("button.fetch_again"), Tap(Action.FETCH_AGAIN, job.id))]]
    else:
        again = [[_button(say("button.retry"), Tap(Action.RETRY, job.id))]] if can_retry(job.failure) else []
    return f"{say.failure(job.failure)}\n🎵 {short_title(job, say)}", _keyboard(again)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _cancel(job: Job, say: Language) -> list[InlineKeyboardButton]:
    return [_button(say("button.cancel"), Tap(Action.CANCEL, job.id))]


def _button(text: str, tap: Tap) -> InlineKeyboardButton:
    return InlineKeyboardButton(text, callback_data=tap.to_data())


def _keyboard(rows: Sequence[Sequence[InlineKeyboardButton]]) -> InlineKeyboardMarkup | None:
    return InlineKeyboardMarkup(rows) if rows else None


class StatusMessage:
    """Puts a job's message into the chat: edits the one there is, or sends it when there is none."""

    def __init__(self, bot: Bot, store: JobStore, texts: Texts) -> None:
        self._bot = bot
        self._store = store
        self._texts = texts

    async def show(self, job: Job) -> None:
        """Show the state that `job` is in; a job that has ended is closed by it.

        Calling it twice shows it once. Raises `TelegramError`, `TryLater` or `StoreUnavailable`.
        """
        say = self._texts.language(job.language)
        delivered = len(await self._store.sent(job.id)) if job.state is JobState.DELIVERED else 0
        text, keyboard = render(job, say, delivered)
        await self.write(job, text, keyboard)
        if job.state in FINAL:
            await self._store.close(job.id)

    async def catch_up(self, job: Job) -> None:
        """To be called after a message was written for `job`: shows what the job has become since.

        Whoever moved it while the message was on its way may have been quicker to show that: the last word
        must be what holds, or a cancelled job goes on saying that it is being worked on.
        """
        while (current := await self._store.get(job.id)) and current.state is not job.state:
            job = current
            await self.show(job)

    async def refresh(self, job_id: str) -> None:
        """Show the state that the store says the job is in, if there is such a job."""
        if job := await self._store.get(job_id):
            await self.show(job)
            await self.catch_up(job)

    async def show_lost(self, job: Job) -> None:
        """Say that the create call's answer is lost and its callback awaited."""
        text, keyboard = render_lost(job, self._texts.language(job.language))
        await self.write(job, text, keyboard)
        await self.catch_up(job)

    async def write(self, job: Job, text: str, keyboard: InlineKeyboardMarkup | None) -> None:
        """Edit the job's message to this; where it is gone or was never sent, send it."""
        try:
            if not (job.message_id and await self._edit(job, text, keyboard)):
                await self._send(job, job.chat_id, text, keyboard)
        except ChatMigrated as error:
            await self._store.migrate(job, error.new_chat_id)
            await self._send(job, error.new_chat_id, text, keyboard)

    async def _edit(self, job: Job, text: str, keyboard: InlineKeyboardMarkup | None) -> bool:
        """False: the message is gone."""
        try:
            await self._bot.edit_message_text(
                text, chat_id=job.chat_id, message_id=job.message_id, reply_markup=keyboard
            )
        except BadRequest as error:
            if is_message_gone(error):
                return False
            if "not modified" not in str(error).lower():
                raise
        return True

    async def _send(self, job: Job, chat_id: int, text: str, keyboard: InlineKeyboardMarkup | None) -> None:
        message = await send_in_topic(
            job,
            lambda topic_id, reply: self._bot.send_message(
                chat_id,
                text,
                message_thread_id=topic_id,
                reply_parameters=reply,
                reply_markup=keyboard,
            ),
        )
        await self._store.set(job.id, message_id=message.message_id)


def is_message_gone(error: BadRequest) -> bool:
    """Whether the bot's own message was deleted or can no longer be edited."""
    words = str(error).lower()
    return "message to edit not found" in words or "can't be edited" in words or "message_id_invalid" in words
