"""Stems that Telegram keeps, sent again by their `file_id`: no fetching, no upload, no credits."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from telegram import InputMediaAudio, InputMediaDocument, Message, ReplyParameters
from telegram.error import BadRequest
from telegram.ext import ExtBot

from stemdrop.chat.replies import send_in_topic
from stemdrop.domain.jobs import CachedStem, Job
from stemdrop.errors import CachedFileGone
from worker.stems.album_sender import Tick, albums, is_refusal, sent_as

log = logging.getLogger(__name__)

_AUDIO, _DOCUMENT = "audio", "document"
# How Telegram says that a `file_id` means nothing to it any more, or no longer what it meant.
_GONE = (
    "wrong file identifier",
    "wrong remote file identifier",
    "wrong file_id",
    "invalid file_id",
    "file_id_invalid",
    "file is temporarily unavailable",
    "file reference",
    "file_reference",
    "can't use file of type",
    "media_empty",
)


class CachedSender:
    """Sends into a job's chat what Telegram keeps."""

    def __init__(self, bot: ExtBot[float]) -> None:
        self._bot = bot

    async def send(
        self, job: Job, stems: Sequence[CachedStem], captions: Mapping[str, str], tick: Tick
    ) -> set[str]:
        """Send these in albums, first what Telegram plays; returns the keys of those that arrived.

        `captions` are by key, where there is one; `tick` is told of each message before the next is sent.
        Raises `KeptGone` when Telegram has lost one of them, `TelegramError` or `TryLater` when the chat, the
        network or Telegram's limits stop it.
        """
        arrived: set[str] = set()
        for kind in (_AUDIO, _DOCUMENT):
            for album in albums([stem for stem in stems if stem.kind == kind]):
                arrived |= await self._send_group(job, album, captions, tick)
        return arrived

    async def _send_group(
        self, job: Job, stems: Sequence[CachedStem], captions: Mapping[str, str], tick: Tick
    ) -> set[str]:
        if len(stems) == 1:
            return await self._send_singly(job, stems, captions, tick)
        try:
            messages = await self._send_album(job, stems, captions)
        except BadRequest as error:
            _look_for_loss(error)
            if not is_refusal(error):
                raise
            log.warning("job %s: Telegram refuses an album (%s), sending its stems alone", job.id, error)
            return await self._send_singly(job, stems, captions, tick)
        together = zip(stems, messages, strict=False)
        sent = {stem.key: sent_as(message, stem.title) for stem, message in together}
        await tick(sent)
        return set(sent)

    async def _send_singly(
        self, job: Job, stems: Sequence[CachedStem], captions: Mapping[str, str], tick: Tick
    ) -> set[str]:
        arrived: set[str] = set()
        for stem in stems:
            try:
                message = await self._send_one(job, stem, captions.get(stem.key))
            except BadRequest as error:
                _look_for_loss(error)
                if not is_refusal(error):
                    raise
                log.warning("job %s: Telegram refuses stem %s: %s", job.id, stem.key, error)
            else:
                await tick({stem.key: sent_as(message, stem.title)})
                arrived.add(stem.key)
        return arrived

    async def _send_album(
        self, job: Job, stems: Sequence[CachedStem], captions: Mapping[str, str]
    ) -> Sequence[Message]:
        async def send(topic_id: int | None, reply: ReplyParameters | None) -> Sequence[Message]:
            media = [_media(stem, captions.get(stem.key)) for stem in stems]
            return await self._bot.send_media_group(
                job.chat_id,
                media,
                message_thread_id=topic_id,
                reply_parameters=reply,
            )

        return await send_in_topic(job, send)

    async def _send_one(self, job: Job, stem: CachedStem, caption: str | None) -> Message:
        async def send(topic_id: int | None, reply: ReplyParameters | None) -> Message:
            common: dict[str, Any] = {
                "caption": caption,
                "message_thread_id": topic_id,
                "reply_parameters": reply,
            }
            if stem.kind == _AUDIO:
                return await self._bot.send_audio(job.chat_id, stem.file_id, **common)
            return await self._bot.send_document(job.chat_id, stem.file_id, **common)

        return await send_in_topic(job, send)


def _media(stem: CachedStem, caption: str | None) -> InputMediaAudio | InputMediaDocument:
    if stem.kind == _AUDIO:
        return InputMediaAudio(stem.file_id, caption=caption)
    return InputMediaDocument(stem.file_id, caption=caption)


def _look_for_loss(error: BadRequest) -> None:
    """Raise `KeptGone` if these words mean that Telegram has lost a file."""
    words = str(error).lower()
    if any(sign in words for sign in _GONE):
        raise CachedFileGone(str(error)) from error
