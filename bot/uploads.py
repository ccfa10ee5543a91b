"""A song arrives: it is looked at, a job is made, and the user is asked how to split it."""

import logging
from dataclasses import replace

from babel.numbers import format_decimal
from telegram import Message, Update
from telegram.constants import ChatAction, ChatType
from telegram.error import TelegramError
from telegram.ext import CallbackContext

from bot.answers import answer
from bot.listening import Listener
from bot.sources import source_of
from stemdrop.errors import SourceUnusable
from stemdrop.jobs import Job, Source, SourceKind
from stemdrop.status import StatusMessage
from stemdrop.store import JobStore
from stemdrop.texts import Language, Texts

log = logging.getLogger(__name__)

_TITLES = {
    SourceKind.VOICE: "title.voice",
    SourceKind.VIDEO: "title.video",
    SourceKind.VIDEO_NOTE: "title.video",
}


class Uploads:
    """The handler for everything that may be a song."""

    def __init__(self, store: JobStore, listener: Listener, status: StatusMessage, texts: Texts) -> None:
        self._store = store
        self._listener = listener
        self._status = status
        self._texts = texts

    async def receive(self, update: Update, _context: CallbackContext) -> None:  # type: ignore[type-arg]
        """Answer a song with the mode buttons, or with the reason why it cannot be split."""
        message, user = update.effective_message, update.effective_user
        if message is None:
            return
        say = self._texts.language(user.language_code if user else None)
        source = source_of(message)
        if source is None:
            if message.chat.type == ChatType.PRIVATE:  # in groups people send each other files
                await answer(message, say("other.document"))
            return
        once = f"song:{message.chat_id}:{message.message_id}"
        # who writes as a channel or as an anonymous admin taps as themselves: anybody may choose then
        user_id = user.id if user and not message.sender_chat else 0
        job = _job(message, user_id, source, say)
        try:
            await _look_busy(message)
            job = replace(job, source=await self._listener.verify(job.source))
        except SourceUnusable as error:
            log.info("a song in chat %d was refused: %s", message.chat_id, error.reason)
            await answer(message, explain(error, say))
            return
        holder = await self._store.add(job, once)
        kept = job if holder == job.id else await self._store.get(holder)
        # an update that is handled again after a crash finds its job, and perhaps its message
        if kept and not kept.message_id:
            log.info("job %s: a song of %d bytes, %d s", kept.id, source.size_bytes, kept.source.duration_s)
            await self._status.show(kept)


def explain(error: SourceUnusable, say: Language) -> str:
    """The sentence for a refused file, with sizes and times as this language writes them."""
    values = error.values
    filled: dict[str, object] = {}
    if error.reason == "too_big":
        filled = {
            "size": megabytes(values["size_bytes"], say),
            "limit": megabytes(values["limit_bytes"], say),
        }
    elif error.reason == "too_long":
        filled = {"minutes": _minutes(values["duration_s"]), "limit": _minutes(values["limit_s"])}
    return say(f"unusable.{error.reason}", **filled)


def megabytes(size_bytes: object, say: Language) -> str:
    """`20 MB`, with the language's decimal sign."""
    number = round(float(str(size_bytes)) / (1024 * 1024), 1)
    return f"{format_decimal(number, locale=say.code)} MB"


def _minutes(seconds: object) -> int:
    return -(-int(str(seconds)) // 60)


def _job(message: Message, user_id: int, source: Source, say: Language) -> Job:
    named = source.title or say(_TITLES.get(source.kind, "title.song"))
    return Job(
        id=Job.new_id(),
        chat_id=message.chat_id,
        user_id=user_id,
        source_message_id=message.message_id,
        source=replace(source, title=named),
        language=say.code,
        # other supergroups use the field for chains of replies
        topic_id=(message.message_thread_id or 0) if message.is_topic_message else 0,
    )


async def _look_busy(message: Message) -> None:
    try:
        topic_id = message.message_thread_id if message.is_topic_message else None
        await message.get_bot().send_chat_action(
            message.chat_id, ChatAction.TYPING, message_thread_id=topic_id
        )
    except TelegramError as error:  # a courtesy, never a reason to drop a song
        log.debug("no chat action: %s", error)
