"""Stems as Telegram takes them: put into albums, and sent."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from telegram import InputFile, InputMediaAudio, InputMediaDocument, Message, ReplyParameters
from telegram.error import BadRequest, NetworkError
from telegram.ext import ExtBot

from stemdrop.chat.replies import send_in_topic
from stemdrop.chat.telegram_bot import is_gone
from stemdrop.domain.audio_types import PLAYABLE_EXTENSIONS
from stemdrop.domain.jobs import Job
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.titles import MAX_NAME, cut

log = logging.getLogger(__name__)

# Bot API, sendMediaGroup: 2–10 items.
MAX_ALBUM = 10
# Telegram must first store a whole album before it answers.
_ANSWER_TIMEOUT_S = 300
# Stems on disk wait for Telegram's limits (a full album in a group: a minute) rather than be fetched again.
PATIENCE_S = 300.0


Item = TypeVar("Item")
Tick = Callable[[dict[str, Sent]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class StemFile:
    """A stem on disk, ready to be sent; `title` and `file_name` are what the user reads."""

    key: str
    title: str
    file_name: str
    path: Path
    duration_s: int

    @property
    def is_playable(self) -> bool:
        """Whether Telegram takes it as music."""
        return PurePosixPath(self.file_name).suffix in PLAYABLE_EXTENSIONS


def albums(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items as albums, in order."""
    start = 0
    for size in album_sizes(len(items)) if items else ():
        yield items[start : start + size]
        start += size


def album_sizes(count: int) -> list[int]:
    """How many stems go into each album: as few albums as can be, as even as can be.

    Even ones come sooner and lose less to a crash than ten and two.
    """
    albums = -(-count // MAX_ALBUM)
    return [count // albums + (1 if index < count % albums else 0) for index in range(albums)]


class AlbumSender:
    """Sends stems of one job into its chat."""

    def __init__(self, bot: ExtBot[float]) -> None:
        self._bot = bot

    async def send(self, job: Job, stems: Sequence[StemFile], cover: bytes | None, tick: Tick) -> set[str]:
        """Send at most ten stems, as one album where Telegram allows; returns the keys of those that arrived.

        `tick` is told of each message before the next is sent. A stem that Telegram refuses is left out.
        Raises `TelegramError` or `TryLater` when the chat, the network or Telegram's limits stop it.
        """
        arrived: set[str] = set()
        for playable in (True, False):
            group = [stem for stem in stems if stem.is_playable is playable]
            if group:
                arrived |= await self._send_group(job, group, cover if playable else None, tick)
        return arrived

    async def _send_group(
        self, job: Job, stems: Sequence[StemFile], cover: bytes | None, tick: Tick
    ) -> set[str]:
        if len(stems) == 1:
            return await self._send_singly(job, stems, cover, tick)
        try:
            messages = await self._send_album(job, stems, cover)
        except NetworkError as error:
            if not is_refusal(error):
                raise
            log.warning("job %s: Telegram refuses an album (%s), sending its stems alone", job.id, error)
            return await self._send_singly(job, stems, cover, tick)
        together = zip(stems, messages, strict=False)
        sent = {stem.key: sent_as(message, stem.title) for stem, message in together}
        await tick(sent)
        return set(sent)

    async def _send_singly(
        self, job: Job, stems: Sequence[StemFile], cover: bytes | None, tick: Tick
    ) -> set[str]:
        """One by one: as music with the cover, without it, and at last as a file."""
        arrived: set[str] = set()
        for stem in stems:
            ways = [(True, cover), (True, None), (False, None)] if stem.is_playable else [(False, None)]
            for as_music, picture in dict.fromkeys(ways):
                try:
                    message = await self._send_one(job, stem, picture, as_music=as_music)
                except NetworkError as error:
                    if not is_refusal(error):
                        raise
                    log.warning("job %s: Telegram refuses stem %s: %s", job.id, stem.key, error)
                    if not isinstance(error, BadRequest):  # too large is too large in any form
                        break
                else:
                    await tick({stem.key: sent_as(message, stem.title)})
                    arrived.add(stem.key)
                    break
        return arrived

    async def _send_album(
        self, job: Job, stems: Sequence[StemFile], cover: bytes | None
    ) -> Sequence[Message]:
        async def send(topic_id: int | None, reply: ReplyParameters | None) -> Sequence[Message]:
            with ExitStack() as files:
                media = [_media(job, stem, files, cover) for stem in stems]
                return await self._bot.send_media_group(
                    job.chat_id,
                    media,
                    message_thread_id=topic_id,
                    reply_parameters=reply,
                    read_timeout=_ANSWER_TIMEOUT_S,
                    rate_limit_args=PATIENCE_S,
                )

        return await send_in_topic(job, send)

    async def _send_one(self, job: Job, stem: StemFile, cover: bytes | None, *, as_music: bool) -> Message:
        async def send(topic_id: int | None, reply: ReplyParameters | None) -> Message:
            with stem.path.open("rb") as file:
                upload = _upload(stem, file)
                common: dict[str, Any] = {
                    "message_thread_id": topic_id,
                    "reply_parameters": reply,
                    "read_timeout": _ANSWER_TIMEOUT_S,
                    "rate_limit_args": PATIENCE_S,
                }
                if as_music:
                    return await self._bot.send_audio(
                        job.chat_id, upload, **_labels(job, stem, cover), **common
                    )
                return await self._bot.send_document(job.chat_id, upload, **common)

        return await send_in_topic(job, send)


def is_refusal(error: NetworkError) -> bool:
    """Whether sending the same again would be answered the same: wrong content, or too much of it (413)."""
    words = str(error).lower()
    if isinstance(error, BadRequest):
        # Telegram may stop in the middle of an album, with its flood limit as the reason
        return not is_gone(error) and "too many requests" not in words
    return "too large" in words


def _media(
    job: Job, stem: StemFile, files: ExitStack, cover: bytes | None
) -> InputMediaAudio | InputMediaDocument:
    upload = _upload(stem, files.enter_context(stem.path.open("rb")), attach=True)
    if stem.is_playable:
        return InputMediaAudio(upload, **_labels(job, stem, cover))
    return InputMediaDocument(upload)


def _upload(stem: StemFile, file: Any, attach: bool = False) -> InputFile:
    # not read here: httpx streams it, so that an album of 500 MB is never in memory
    return InputFile(file, filename=stem.file_name, attach=attach, read_file_handle=False)


def _labels(job: Job, stem: StemFile, cover: bytes | None) -> dict[str, Any]:
    labels: dict[str, Any] = {"title": stem.title}
    if job.source.performer:
        labels["performer"] = cut(job.source.performer, MAX_NAME)
    if stem.duration_s:
        labels["duration"] = stem.duration_s
    if cover:
        labels["thumbnail"] = cover
    return labels


def sent_as(message: Message, title: str) -> Sent:
    """What is to be remembered of a stem that was sent under this title."""
    if message.audio:
        return Sent(message.message_id, message.audio.file_id, message.audio.file_unique_id, "audio", title)
    if file := message.document:
        return Sent(message.message_id, file.file_id, file.file_unique_id, "document", title)
    # Telegram made something else of it: it is in the chat all the same, but cannot be sent by its id
    return Sent(message.message_id, "", "", title=title)
