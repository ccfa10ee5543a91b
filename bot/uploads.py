"""Takes songs: checks each one, makes it a job, and asks its user how to separate it."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from telegram import ExternalReplyInfo, Message, MessageOriginChannel, Update
from telegram.constants import ChatAction
from telegram.error import TelegramError

from bot.audio_check import AudioCheck
from bot.automatic_start import caption_wish, wish_of
from bot.chat_rights import ChatRights
from bot.context import Context
from bot.download_slots import DownloadSlots
from bot.replies import reply
from bot.sources import source_of
from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import Choice, Job, JobState, Source, SourceKind
from stemdrop.errors import SourceUnusable, StemdropError
from stemdrop.log_context import bind_job
from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Engine, Task

log = logging.getLogger(__name__)

_TITLES = {
    SourceKind.VOICE: "title.voice",
    SourceKind.VIDEO: "title.video",
    SourceKind.VIDEO_NOTE: "title.video",
}


@dataclass(frozen=True)
class Uploads:
    store: JobStore
    engine: Engine
    audio_check: AudioCheck
    slots: DownloadSlots
    job_message: JobMessage
    rights: ChatRights
    clock: Callable[[], float] = time.time

    async def receive(self, update: Update, context: Context) -> None:
        if message := update.effective_message:
            await self.take(message, update, context, wish_of(message, context.person))

    async def edited(self, update: Update, context: Context) -> None:
        """Let an edited caption choose the mode of a song in a private chat until a mode is picked.

        Idempotent: a caption that was undone, or says the same as before, starts nothing. If the file of the
        message was replaced, its caption starts nothing either, since the job has the earlier file.
        """
        song = update.effective_message
        wish = caption_wish(song) if song and not song.media_group_id else None
        job = await self.store.added_for(post_of(song)) if song and wish else None
        source = source_of(song) if song else None
        if job is None or wish is None or source is None or job.state is not JobState.CHOOSING:
            return
        if source.file_unique_id != job.source.file_unique_id:
            return
        bind_job(job.id)
        if (job.mode, job.instrument) != wish:
            job = replace(job, mode=wish[0], instrument=wish[1], starts_at=self.clock())
            if not await self.store.start_by_itself(job):
                return
            log.info("job %s: its edited caption chooses %s %s", job.id, *wish)
        if job.starts_at:
            # under its own key: a task that is about to end would not see the new choice
            await self.engine.add(Task.START, f"{job.id}:{job.starts_at}", job.id)

    async def take(
        self,
        song: Message | ExternalReplyInfo,
        update: Update,
        context: Context,
        wish: Choice | None = None,
    ) -> None:
        """Answer a song with the mode buttons, or with the reason why it cannot be split.

        The message of `update` asks for the split: it is the song's own message, or a reply to it. Its sender
        owns the job. Idempotent for each such message. A `wish` is carried out by the task `START`.
        """
        translate, request = context.translate, update.effective_message
        if request is None:
            return
        source = source_of(song)
        if source is None:
            await reply(request, translate("other.document"))
            return
        if obstacle := await self.rights.obstacle(request.chat_id):
            await reply(request, translate(f"here.{obstacle}"))
            return
        once = post_of(request)
        # A channel or an anonymous admin taps under another id, so any member may choose.
        user_id = context.person.id if not request.sender_chat else 0
        job = make_job(song, request, user_id, source, translate)
        if wish:
            job = replace(job, mode=wish[0], instrument=wish[1], starts_at=self.clock())
        try:
            if self.audio_check.needs_download(job.source):
                async with _typing(request):
                    job = await self.checked(job)
        except SourceUnusable as error:
            log.info("a song in chat %d was refused: %s", request.chat_id, error.reason)
            await reply(request, explain(error, translate))
            return
        holder = await self.store.add(job, once)
        bind_job(holder)
        cached = job if holder == job.id else await self.store.get(holder)
        # an update that is handled again after a crash finds its job, which may have its message already
        if cached and not cached.message_id:
            log.info(
                "job %s: a song of %d bytes, %d s", cached.id, source.size_bytes, cached.source.duration_s
            )
            if cached.starts_at:
                await self.engine.add(Task.START, cached.id, cached.id)
            else:
                await self.job_message.show(cached)

    async def checked(self, job: Job) -> Job:
        """Return the job with its song's size and length.

        Raises `SourceUnusable`, `TryLater`, and the network's errors.
        """
        if not self.audio_check.needs_download(job.source):
            return job
        with self.slots.hold(job.account, job.source_message_id):
            return replace(job, source=await self.audio_check.inspect(job.source))


def explain(error: SourceUnusable, translate: Language) -> str:
    """Return the sentence for a refused file, with sizes and times as this language writes them."""
    values = error.values
    filled: dict[str, object] = {}
    if error.reason == "too_big":
        size_bytes, limit_bytes = int(str(values["size_bytes"])), int(str(values["limit_bytes"]))
        filled = {
            "size": translate.size(size_bytes, limit_bytes=limit_bytes),
            "limit": translate.size(limit_bytes),
        }
    elif error.reason == "too_long":
        filled = {"minutes": _minutes(values["duration_s"]), "limit": _minutes(values["limit_s"])}
    return translate(f"unusable.{error.reason}", **filled)


def _minutes(seconds: object) -> int:
    return -(-int(str(seconds)) // 60)


def post_of(request: Message) -> str:
    """Name the message that asks; a channel's post and its copy in a discussion group get the same name."""
    origin = request.forward_origin
    if request.is_automatic_forward and isinstance(origin, MessageOriginChannel):
        return f"song:{origin.chat.id}:{origin.message_id}"
    return f"song:{request.chat_id}:{request.message_id}"


def make_job(
    song: Message | ExternalReplyInfo, request: Message, user_id: int, source: Source, translate: Language
) -> Job:
    """Return a new job for a song; with `user_id` 0 any member of the chat may choose for it."""
    named = source.title or translate(_TITLES.get(source.kind, "title.song"))
    return Job(
        id=Job.new_id(),
        chat_id=request.chat_id,
        user_id=user_id,
        account=user_id or request.chat_id,
        source_message_id=(song if isinstance(song, Message) else request).message_id,
        source=replace(source, title=named),
        language=translate.code,
        # supergroups without topics use this field for chains of replies
        topic_id=(request.message_thread_id or 0) if request.is_topic_message else 0,
    )


@asynccontextmanager
async def _typing(message: Message) -> AsyncIterator[None]:
    """Show "typing …" in the chat; the block does not wait for Telegram's answer."""
    action = asyncio.create_task(_send_typing(message))
    try:
        yield
    finally:
        action.cancel()


async def _send_typing(message: Message) -> None:
    try:
        topic_id = message.message_thread_id if message.is_topic_message else None
        await message.get_bot().send_chat_action(
            message.chat_id, ChatAction.TYPING, message_thread_id=topic_id
        )
    except (TelegramError, StemdropError) as error:
        log.debug("no chat action: %s", error)
