"""Sends stems into a job's chat: as albums, and one by one if Telegram refuses an album."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from telegram import InputFile, InputMediaAudio, InputMediaDocument, Message, ReplyParameters
from telegram.error import BadRequest, NetworkError, TelegramError
from telegram.ext import ExtBot

from stemdrop.chat.refusals import Refusal, classify
from stemdrop.chat.replies import send_in_topic, send_text
from stemdrop.domain.jobs import Job
from stemdrop.domain.outcomes import Sent
from stemdrop.errors import CachedFileGone

log = logging.getLogger(__name__)

AUDIO, VOICE, DOCUMENT = "audio", "voice", "document"
# Bot API, sendMediaGroup: 2–10 items.
MAX_ALBUM = 10
# Telegram stores a whole album before it answers.
UPLOAD_TIMEOUT_S = 300
# How long files on disk wait for Telegram's limits (a full album in a group: a minute), so that they need not
# be downloaded again.
UPLOAD_PATIENCE_S = 300.0
# The arguments that the methods for every kind of file take.
_LABELS_OF_ALL = ("caption", "reply_markup")
Item = TypeVar("Item")
RecordSent = Callable[[dict[str, Sent]], Awaitable[None]]
# Raises `DeliveryOverridden` if the caller no longer delivers the job.
CheckOwner = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Upload:
    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class OutgoingStem:
    """A stem: an upload or a `file_id`; `labels` are further arguments of sendAudio or sendDocument."""

    key: str
    title: str
    kind: str
    media: Upload | str
    labels: Mapping[str, Any] = field(default_factory=dict)


def albums(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield the items in as few albums as possible, of even size.

    With six and six, the first album arrives sooner, and a crash repeats less, than with ten and two.
    """
    count, number = len(items), -(-len(items) // MAX_ALBUM)
    bounds = [-(-count * index // number) for index in range(number + 1)] if items else []
    for start, end in pairwise(bounds):
        yield items[start:end]


class StemSender:
    """Sends stems and other files of a job; one object serves all jobs of a process."""

    def __init__(self, bot: ExtBot[float]) -> None:
        self._bot = bot

    async def send(
        self, job: Job, stems: Sequence[OutgoingStem], record: RecordSent, check_owner: CheckOwner
    ) -> set[str]:
        """Send the stems in albums, audio first; returns the keys of those that arrived.

        Calls `check_owner` before each message or album and `record` after it. Leaves out a stem that
        Telegram refuses. Raises `CachedFileGone` when Telegram has lost a file, and `TelegramError` or
        `TryLater` when the chat, the network or Telegram's limits stop it.
        """
        arrived: set[str] = set()
        for kind in (AUDIO, DOCUMENT):
            for album in albums([stem for stem in stems if stem.kind == kind]):
                arrived |= await self._send_together(job, album, record, check_owner)
        return arrived

    async def send_file(self, job: Job, kind: str, media: Upload | str, **labels: Any) -> Message:
        """Send one file of this kind in the job's topic. Raises `TelegramError` or `TryLater`."""

        async def send(topic_id: int | None, reply: ReplyParameters | None) -> Message:
            with ExitStack() as files:
                opened = _opened(media, files)
                options = {**_timeouts(media), **labels}
                options |= {"message_thread_id": topic_id, "reply_parameters": reply}
                if kind == AUDIO:
                    return await self._bot.send_audio(job.chat_id, opened, **options)
                if kind == VOICE:
                    return await self._bot.send_voice(job.chat_id, opened, **options)
                return await self._bot.send_document(job.chat_id, opened, **options)

        return await send_in_topic(job, send)

    async def send_text(self, job: Job, text: str) -> Message:
        """Send a message in the job's topic. Raises `TelegramError` or `TryLater`."""
        return await send_text(self._bot, job, text, patience_s=UPLOAD_PATIENCE_S)

    async def _send_together(
        self, job: Job, stems: Sequence[OutgoingStem], record: RecordSent, check_owner: CheckOwner
    ) -> set[str]:
        if len(stems) > 1:
            await check_owner()
            try:
                messages = await self._send_album(job, stems)
            except NetworkError as error:
                _raise_unless_refused(error, _one_of(str, stems))
                log.warning("job %s: Telegram refuses an album, sending its stems singly: %s", job.id, error)
            else:
                together = zip(stems, messages, strict=False)
                sent = {stem.key: sent_as(message, stem.title) for stem, message in together}
                await record(sent)
                return set(sent)
        return {stem.key for stem in stems if await self._send_singly(job, stem, record, check_owner)}

    async def _send_singly(
        self, job: Job, stem: OutgoingStem, record: RecordSent, check_owner: CheckOwner
    ) -> bool:
        for variant in _variants(stem):
            await check_owner()
            try:
                message = await self.send_file(job, variant.kind, variant.media, **variant.labels)
            except NetworkError as error:
                _raise_unless_refused(error, stem.media)
                log.warning("job %s: Telegram refuses stem %s: %s", job.id, stem.key, error)
                if not isinstance(error, BadRequest):  # the file is too large in any form
                    return False
            else:
                await record({stem.key: sent_as(message, stem.title)})
                return True
        return False

    async def _send_album(self, job: Job, stems: Sequence[OutgoingStem]) -> Sequence[Message]:
        async def send(topic_id: int | None, reply: ReplyParameters | None) -> Sequence[Message]:
            with ExitStack() as files:
                return await self._bot.send_media_group(
                    job.chat_id,
                    [_input_media(stem, files) for stem in stems],
                    message_thread_id=topic_id,
                    reply_parameters=reply,
                    **_timeouts(_one_of(Upload, stems)),
                )

        return await send_in_topic(job, send)


def is_refusal(error: TelegramError) -> bool:
    """Return whether Telegram would refuse the same file again: for its content, or its size (413)."""
    return classify(error) in (Refusal.CONTENT, Refusal.FILE_GONE)


def sent_as(message: Message, title: str) -> Sent:
    """Return the record of a sent message; its `file_id` is empty if the file cannot be sent by it."""
    for kind, file in ((VOICE, message.voice), (AUDIO, message.audio), (DOCUMENT, message.document)):
        if file:
            return Sent(message.message_id, file.file_id, file.file_unique_id, kind, title)
    # Telegram turned the file into another kind: it is in the chat, but cannot be sent by its id
    return Sent(message.message_id, "", "", title=title)


def _variants(stem: OutgoingStem) -> Iterator[OutgoingStem]:
    """Yield the ways to send an upload: as audio with its cover, as audio without it, and as a document."""
    yield stem
    if stem.kind == AUDIO and isinstance(stem.media, Upload):
        if "thumbnail" in stem.labels:
            labels = {name: value for name, value in stem.labels.items() if name != "thumbnail"}
            yield replace(stem, labels=labels)
        labels = {name: value for name, value in stem.labels.items() if name in _LABELS_OF_ALL}
        yield replace(stem, kind=DOCUMENT, labels=labels)


def _one_of(kind: type[Upload] | type[str], stems: Sequence[OutgoingStem]) -> Upload | str:
    """Return a medium of this kind, or the first stem's medium if the album has none."""
    return next((stem.media for stem in stems if isinstance(stem.media, kind)), stems[0].media)


def _raise_unless_refused(error: NetworkError, media: Upload | str) -> None:
    if isinstance(media, str) and classify(error) is Refusal.FILE_GONE:
        raise CachedFileGone(str(error)) from error
    if not is_refusal(error):
        raise error


def _timeouts(media: Upload | str) -> dict[str, Any]:
    if isinstance(media, str):  # a `file_id` takes no room on disk: its task may wait in the queue
        return {}
    return {"read_timeout": UPLOAD_TIMEOUT_S, "rate_limit_args": UPLOAD_PATIENCE_S}


def _opened(media: Upload | str, files: ExitStack, attach: bool = False) -> InputFile | str:
    if isinstance(media, str):
        return media
    # the file is read while it is sent, so that an album of 500 MB is never in memory
    file = files.enter_context(media.path.open("rb"))
    return InputFile(file, filename=media.name, attach=attach, read_file_handle=False)


def _input_media(stem: OutgoingStem, files: ExitStack) -> InputMediaAudio | InputMediaDocument:
    media = _opened(stem.media, files, attach=True)
    return (InputMediaAudio if stem.kind == AUDIO else InputMediaDocument)(media, **stem.labels)
