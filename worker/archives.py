"""The task `PACK`: what a delivered job's stems are asked for in besides: one ZIP, or small voice messages.

At least once, as delivery: what was sent is ticked off, and a run that takes over sends the rest. What was
made is sent again by its `file_id`.
"""

import logging
import zipfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
from telegram import InputFile, Message, ReplyParameters
from telegram.error import BadRequest, ChatMigrated, NetworkError, TelegramError
from telegram.ext import ExtBot

from stemdrop.chat.callback_data import Action
from stemdrop.chat.rendering import short_title
from stemdrop.chat.replies import send_in_topic
from stemdrop.chat.telegram_bot import is_gone
from stemdrop.chat.translations import Language, Translations
from stemdrop.domain.jobs import Job
from stemdrop.domain.outcomes import Run, Sent
from stemdrop.domain.results import Stem
from stemdrop.domain.titles import MAX_CAPTION, MAX_NAME, archive_name, cut, in_sentence
from stemdrop.errors import TryLater
from stemdrop.services.disk_space import temp_folder
from stemdrop.storage.connection import retry_until_stored
from stemdrop.storage.dead_letters import DeadLetters
from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Task
from stemdrop.tasks.owner_limits import OwnerLimits, account_is_busy
from worker.audio.voice_encoder import AAC, OPUS, NotAudio, Voice, record
from worker.stems.album_sender import PATIENCE_S, StemFile, is_refusal
from worker.stems.copies import StemCopies
from worker.stems.temp_folders import in_thread, pour

log = logging.getLogger(__name__)

# So many are made, or wait for Telegram's limits, at once in one process.
PACKS_AT_ONCE = 2
PACKS_PER_ACCOUNT = 1
# With pauses of up to five minutes between runs this is an hour.
MAX_RUNS = 20
_RUNS = {Action.ZIP: Run.ZIP, Action.SMALL: Run.SMALL}
_WHAT = {Run.ZIP: "one ZIP of a job's stems", Run.SMALL: "a job's stems as voice messages"}
_ACTIONS = {run: action for action, run in _RUNS.items()}
# Telegram must first store a whole file before it answers.
_ANSWER_TIMEOUT_S = 300

Ordered = Sequence[tuple[Stem, Sent]]


class _Limited(TryLater):
    """Telegram's limits hold a message back, which is no failure, however often."""


class Archives:
    """Handed what it needs; `max_bytes` is what Telegram takes of one file."""

    def __init__(
        self,
        *,
        store: JobStore,
        dead_letters: DeadLetters,
        bot: ExtBot[float],
        copies: StemCopies,
        translations: Translations,
        max_bytes: int,
    ) -> None:
        self._store = store
        self._dead_letters = dead_letters
        self._bot = bot
        self._copies = copies
        self._translations = translations
        self._max_bytes = max_bytes
        self._owner_limits = OwnerLimits[int](PACKS_PER_ACCOUNT, account_is_busy)

    async def run(self, argument: str) -> None:
        """Pack what `<job id>:<letter>` orders. Raises `TryLater`."""
        job_id, _, letter = argument.partition(":")
        job = await self._store.get(job_id)
        if job is None or letter not in _RUNS:
            return
        with self._owner_limits.of(job.account):
            await self._run(job, _RUNS[Action(letter)])

    async def _run(self, job: Job, kind: Run) -> None:
        run = await self._store.count_run(job.id, kind)
        try:
            await self._pack_or_explain(job, kind, run)
        except ChatMigrated as error:
            await self._store.migrate(job, error.new_chat_id)
            raise TryLater(0.1, "the group became a supergroup") from error
        except TelegramError as error:
            if not is_gone(error):
                raise TryLater(min(2.0**run, 300), f"Telegram: {type(error).__name__}: {error}") from error
            log.info("job %s: its chat is gone: %s", job.id, error)
        except _Limited:
            await self._store.count_run(job.id, kind, by=-1)
            raise
        except httpx.HTTPError as error:  # its text may hold a URL with the bot's token
            raise TryLater(min(2.0**run, 300), f"a stem broke off: {type(error).__name__}") from error
        await self._store.count_run(job.id, kind, by=-run)

    async def give_up(self, argument: str) -> None:
        """This order killed who ran it: it is not run again, and the next one is counted anew."""
        job_id, _, letter = argument.partition(":")
        job = await self._store.get(job_id)
        if job is None or letter not in _RUNS:
            return
        kind = _RUNS[Action(letter)]
        await self._store.count_run(job_id, kind, by=-await self._store.count_run(job_id, kind, by=0))
        await self._give_up(job, kind, "whoever made it died", self._translations.language(job.language))

    async def _pack_or_explain(self, job: Job, kind: Run, run: int) -> None:
        say = self._translations.language(job.language)
        if run > MAX_RUNS:
            await self._give_up(job, kind, f"after {MAX_RUNS} runs", say)
            return
        sent = await self._store.sent(job.id)
        ordered = (
            [(stem, sent[stem.key]) for stem in job.result.stems if stem.key in sent] if job.result else []
        )
        pack = self._zip if kind is Run.ZIP else self._voices
        try:
            is_packed = bool(ordered) and await pack(job, ordered, say)
        except BadRequest as error:
            if not is_refusal(error):
                raise
            await self._give_up(job, kind, str(error), say)
            return
        if not is_packed:
            log.warning("job %s: its stems are not to be had for %s", job.id, kind)
            await self._tell(job, say("pack.nothing", title=short_title(job, say)))
        await self._dead_letters.drop(_key(job, kind))

    async def _give_up(self, job: Job, kind: Run, why: str, say: Language) -> None:
        """The operator finds it; who ordered it is told if they can be: where no files come no words may."""
        log.error("job %s: %s given up: %s", job.id, kind, why)
        await self._dead_letters.add(_key(job, kind), _WHAT[kind], why)
        try:
            await self._tell(job, say("pack.failed", title=short_title(job, say)))
        except (TelegramError, TryLater) as error:
            log.warning("job %s: that could not be told: %s", job.id, error)

    # One ZIP

    async def _zip(self, job: Job, ordered: Ordered, say: Language) -> bool:
        """Send all in one file. False: there is nothing to put into it."""
        # stems only ever come on top of those that are there
        entry = f"zip:{len(ordered)}"
        before = (await self._store.packed(job.id)).get(entry)
        if before and (before.message_id or await self._send_again(job, entry, before)):
            await self._end_round(job, [entry])
            return True
        with temp_folder() as folder:
            archive = folder / "stems.zip"
            missing = await self._fill(archive, job, ordered, say)
            if missing is None:
                await self._refuse(job, say)
                return True
            if len(missing) == len(ordered):
                return False
            try:
                message = await self._send_archive(job, archive, _caption(missing, say), say)
            except NetworkError as error:
                if isinstance(error, BadRequest) or not is_refusal(error):
                    raise
                await self._refuse(job, say)
                return True
        if not missing:
            await self._tick(job, entry, message)
            await self._end_round(job, [entry])
        log.info("job %s: sent as one ZIP, without %s", job.id, missing)
        return True

    async def _fill(self, archive: Path, job: Job, ordered: Ordered, say: Language) -> list[str] | None:
        """Put every stem into the ZIP; returns the names of those missing, `None` if it gets too big."""
        missing, taken = [], set[str]()
        for stem, sent in ordered:
            file = await self._copies.fetch(job, stem, sent, archive.parent, say)
            if file is None:
                missing.append(say.stem(stem))
                continue
            name = _unique(file.file_name, taken)
            if await in_thread(_add, archive, file.path, name) > self._max_bytes:
                return None
        return missing

    async def _refuse(self, job: Job, say: Language) -> None:
        limit = say.size(self._max_bytes)
        await self._tell(job, say("pack.too_big", title=short_title(job, say), limit=limit))

    async def _send_archive(self, job: Job, path: Path, caption: str | None, say: Language) -> Message:
        async def send(**place: Any) -> Message:
            with path.open("rb") as file:
                name = archive_name(job.source.title, say("title.song"))
                upload = InputFile(file, filename=name, read_file_handle=False)
                return await self._bot.send_document(job.chat_id, upload, caption=caption, **place)

        return await self._send(job, send)

    # Voice messages

    async def _voices(self, job: Job, ordered: Ordered, say: Language) -> bool:
        """Send each as a voice message. False: there is none to send."""
        before = await self._store.packed(job.id)
        voice, missing, entries = OPUS, list[str](), list[str]()
        with temp_folder() as folder:
            for stem, sent in ordered:
                entry = f"voice:{stem.key}"
                cached = before.get(entry)
                if not (cached and (cached.message_id or await self._send_again(job, entry, cached))):
                    file = await self._copies.fetch(job, stem, sent, folder, say)
                    if file is None or not (used := await self._send_small(job, entry, file, voice)):
                        missing.append(say.stem(stem))
                        continue
                    voice = used
                entries.append(entry)
        if entries and missing:
            await self._tell(job, _caption(missing, say) or "")
        await self._end_round(job, entries)
        return bool(entries)

    async def _send_small(self, job: Job, entry: str, file: StemFile, voice: Voice) -> Voice | None:
        """Returns as what it was sent, `None` if it could not be; who forbids voice messages gets audio."""
        small = file.path.with_name("small")
        try:
            length_s = await in_thread(record, file.path, small, voice)
            message = await self._send_voice(job, file, small, voice, round(length_s))
        except BadRequest as error:
            if voice is OPUS and "voice_messages_forbidden" in str(error).lower():
                return await self._send_small(job, entry, file, AAC)
            raise
        except NotAudio as error:
            log.warning("job %s: %s cannot be made: %s", job.id, entry, error)
            return None
        await self._tick(job, entry, message)
        return voice

    async def _send_voice(
        self, job: Job, file: StemFile, small: Path, voice: Voice, duration_s: int
    ) -> Message:
        async def send(**place: Any) -> Message:
            with small.open("rb") as content:
                name = PurePosixPath(file.file_name).with_suffix(voice.extension).name
                upload = InputFile(content, filename=name, read_file_handle=False)
                if voice is OPUS:
                    caption = in_sentence(file.title, MAX_CAPTION)
                    return await self._bot.send_voice(
                        job.chat_id, upload, caption=caption, duration=duration_s, **place
                    )
                return await self._bot.send_audio(
                    job.chat_id, upload, title=file.title, duration=duration_s, **place
                )

        return await self._send(job, send)

    # Both

    async def _send_again(self, job: Job, entry: str, cached: Sent) -> bool:
        """Send what was made before by its `file_id`. False: Telegram does not have it any more."""
        if not cached.file_id:
            return False

        async def send(**place: Any) -> Message:
            common = {"caption": cached.title or None, **place}
            match cached.kind:
                case "voice":
                    return await self._bot.send_voice(job.chat_id, cached.file_id, **common)
                case "audio":
                    return await self._bot.send_audio(job.chat_id, cached.file_id, **common)
            return await self._bot.send_document(job.chat_id, cached.file_id, **common)

        try:
            # nothing lies on the disk for it, so others may go on meanwhile
            message = await self._send(job, send, patience_s=None)
        except BadRequest as error:
            if not is_refusal(error):
                raise
            log.info("job %s: %s is made anew: %s", job.id, entry, error)
            return False
        await self._tick(job, entry, message)
        return True

    async def _send(
        self,
        job: Job,
        send: Callable[..., Awaitable[Message]],
        patience_s: float | None = PATIENCE_S,
    ) -> Message:
        async def placed(topic_id: int | None, reply: ReplyParameters | None) -> Message:
            return await send(
                message_thread_id=topic_id,
                reply_parameters=reply,
                read_timeout=_ANSWER_TIMEOUT_S,
                rate_limit_args=patience_s,
            )

        try:
            return await send_in_topic(job, placed)
        except TryLater as error:
            raise _Limited(error.after_s, str(error)) from error

    async def _tell(self, job: Job, text: str) -> None:
        await self._send(job, lambda **place: self._bot.send_message(job.chat_id, text, **place))

    async def _tick(self, job: Job, entry: str, message: Message) -> None:
        what = f"job {job.id}: {entry} sent but not ticked off yet"
        await retry_until_stored(lambda: self._store.tick_packed(job.id, {entry: _sent(message)}), what)

    async def _end_round(self, job: Job, entries: Sequence[str]) -> None:
        """All of this order is in the chat: the next order is to be sent anew, by `file_id`."""
        packed = await self._store.packed(job.id)
        done = {entry: replace(packed[entry], message_id=0) for entry in entries if entry in packed}
        if done:
            await self._store.tick_packed(job.id, done)


def _key(job: Job, kind: Run) -> str:
    """Of the task, as the engine names it."""
    return f"{Task.PACK}:{job.id}:{_ACTIONS[kind]}"


def _sent(message: Message) -> Sent:
    """With the caption as title: it is to be sent with the file each time."""
    caption = message.caption or ""
    for kind, file in (("voice", message.voice), ("audio", message.audio), ("document", message.document)):
        if file:
            return Sent(message.message_id, file.file_id, file.file_unique_id, kind, caption)
    return Sent(message.message_id, "", "")


def _caption(missing: Sequence[str], say: Language) -> str | None:
    names = ", ".join(in_sentence(name, MAX_NAME) for name in missing)
    return cut(say("pack.missing", names=names), MAX_CAPTION) if missing else None


def _add(archive: Path, path: Path, name: str) -> int:
    """Move a file into the ZIP, as it is: audio does not get smaller. Returns the ZIP's size. Blocking."""
    entry = zipfile.ZipInfo.from_file(path, name)
    with (
        path.open("rb") as source,
        zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED) as file,
        file.open(entry, "w") as target,
    ):
        pour(source, target)
    path.unlink()
    return archive.stat().st_size


def _unique(name: str, taken: set[str]) -> str:
    """A name that no other file in the folder has, wherever it is unpacked; it is taken then."""
    path, number = PurePosixPath(name), 1
    while name.casefold() in taken:
        number += 1
        name = f"{path.stem} {number}{path.suffix}"
    taken.add(name.casefold())
    return name
