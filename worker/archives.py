"""The task `PACK`: sends a delivered job's stems as one ZIP or as small voice messages.

Each order is carried out at least once: a run sends what is not recorded as sent. The files of a repeated
order are sent by their `file_id`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from telegram import Message
from telegram.error import BadRequest, NetworkError, TelegramError

from stemdrop.chat.callback_data import Action
from stemdrop.chat.refusals import obstacle_of
from stemdrop.chat.rendering import short_title
from stemdrop.chat.translations import Language, Translations
from stemdrop.domain.jobs import Job, Obstacle
from stemdrop.domain.outcomes import Run, Sent
from stemdrop.domain.results import Stem
from stemdrop.domain.titles import MAX_CAPTION, MAX_NAME, archive_name, cut, in_sentence
from stemdrop.errors import TryLater
from stemdrop.services.disk_space import WORKER_MIN_FREE_BYTES, temp_folder, writing
from stemdrop.storage.connection import retry_until_stored
from stemdrop.storage.dead_letters import DeadLetters
from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Task
from stemdrop.tasks.owner_limits import OwnerLimits, account_is_busy
from worker.audio.formats import NotAudio
from worker.audio.voice_encoder import AAC, OPUS, VoiceFormat, encode_voice
from worker.cancellable_thread import run_in_thread
from worker.chat_errors import ChatClosed, Limited, chat_errors, uncounted
from worker.stems.download import DownloadedStem
from worker.stems.downloader import StemDownloader
from worker.stems.stem_sender import AUDIO, DOCUMENT, VOICE, StemSender, Upload, is_refusal, sent_as
from worker.zip_file import add_to_zip, unique_name

log = logging.getLogger(__name__)

# Orders that one process handles at once, with those on disk that wait for Telegram's limits.
PACKS_AT_ONCE = 2
PACKS_PER_ACCOUNT = 1
# With pauses of up to five minutes between runs this is an hour.
MAX_PACK_RUNS = 20
_RUNS = {Action.ZIP: Run.ZIP, Action.SMALL: Run.SMALL}
_ACTIONS = {run: action for action, run in _RUNS.items()}
_DESCRIPTIONS = {Run.ZIP: "one ZIP of a job's stems", Run.SMALL: "a job's stems as voice messages"}

SentStems = Sequence[tuple[Stem, Sent]]


@dataclass(kw_only=True)
class Archives:
    """Handles orders of ZIPs and voice messages; `max_bytes` is Telegram's limit for one file."""

    store: JobStore
    dead_letters: DeadLetters
    sender: StemSender
    downloader: StemDownloader
    translations: Translations
    max_bytes: int
    _owner_limits: OwnerLimits[int] = field(
        init=False, default_factory=lambda: OwnerLimits[int](PACKS_PER_ACCOUNT, account_is_busy)
    )

    async def run(self, argument: str) -> None:
        """Handle the order `<job id>:<action>`. Raises `TryLater`."""
        if order := await self._read(argument):
            with self._owner_limits.of(order[0].account):
                await self._run(*order)

    async def give_up(self, argument: str) -> None:
        """Give up an order that has killed its workers; the runs of a new order are counted from 0."""
        if order := await self._read(argument):
            job, kind = order
            await self.store.count_run(job.id, kind, by=-await self.store.runs(job.id, kind))
            await self._give_up(job, kind, "its workers died", self.translations.language(job.language))

    async def _read(self, argument: str) -> tuple[Job, Run] | None:
        job_id, _, action = argument.partition(":")
        job = await self.store.get(job_id)
        return (job, _RUNS[Action(action)]) if job and action in _RUNS else None

    async def _run(self, job: Job, kind: Run) -> None:
        run = await self.store.count_run(job.id, kind)
        try:
            async with chat_errors(job, self.store, run):
                await self._pack_or_explain(job, kind, run)
        except ChatClosed as error:
            if error.obstacle:
                await self._explain(job, kind, error.obstacle)
            log.info("job %s: its chat does not take %s: %s", job.id, kind, error)
        except Limited:
            await self.store.count_run(job.id, kind, by=-1)
            raise
        await self.store.count_run(job.id, kind, by=-run)

    async def _pack_or_explain(self, job: Job, kind: Run, run: int) -> None:
        translate = self.translations.language(job.language)
        if run > MAX_PACK_RUNS:
            await self._give_up(job, kind, f"after {MAX_PACK_RUNS} runs", translate)
            return
        sent = await self.store.sent(job.id)
        listed = job.result.stems if job.result else ()
        stems = [(stem, sent[stem.key]) for stem in listed if stem.key in sent]
        pack = self._send_zip if kind is Run.ZIP else self._send_voices
        try:
            is_packed = bool(stems) and await pack(job, stems, translate, run)
        except BadRequest as error:
            if not is_refusal(error):
                raise
            await self._give_up(job, kind, str(error), translate)
            return
        if not is_packed:
            log.warning("job %s: no stem is available for %s", job.id, kind)
            await self._send_text(job, translate("pack.nothing", title=short_title(job, translate)))
        await self.dead_letters.drop(_dead_letter_key(job, kind))

    async def _give_up(self, job: Job, kind: Run, why: str, translate: Language) -> None:
        """Keep a dead letter and tell the user if possible: a chat without files may forbid texts, too."""
        log.error("job %s: %s given up: %s", job.id, kind, why)
        await self.dead_letters.add(_dead_letter_key(job, kind), _DESCRIPTIONS[kind], why)
        await self._tell(job, translate("pack.failed", title=short_title(job, translate)))

    async def _explain(self, job: Job, kind: Run, obstacle: Obstacle) -> None:
        """Say what to change in the chat; the same order then works."""
        translate = self.translations.language(job.language)
        await self._tell(job, f"{translate(f'here.{obstacle}')}\n🎵 {short_title(job, translate)}")
        await self.dead_letters.drop(_dead_letter_key(job, kind))

    async def _tell(self, job: Job, text: str) -> None:
        try:
            await self._send_text(job, text)
        except (TelegramError, TryLater) as error:
            log.warning("job %s: its user could not be told: %s", job.id, error)

    async def _send_zip(self, job: Job, stems: SentStems, translate: Language, run: int) -> bool:
        """Send all stems in one ZIP; returns False if no stem is available."""
        # the number names the content, since a job's stems only grow in number
        entry = f"zip:{len(stems)}"
        before = (await self.store.packed(job.id)).get(entry)
        if before and (before.message_id or await self._send_again(job, entry, before)):
            await self._end_order(job, [entry])
            return True
        with temp_folder(WORKER_MIN_FREE_BYTES) as folder:
            archive = folder / "stems.zip"
            missing = await self._fill_zip(archive, job, stems, translate, run)
            if missing is None:
                await self._refuse_zip(job, translate)
                return True
            if len(missing) == len(stems):
                return False
            upload = Upload(archive, archive_name(job.source.title, translate("title.song")))
            try:
                message = await self._send_file(
                    job, DOCUMENT, upload, caption=_missing_text(missing, translate)
                )
            except NetworkError as error:
                if isinstance(error, BadRequest) or not is_refusal(error):
                    raise
                await self._refuse_zip(job, translate)
                return True
        if not missing:
            await self._record(job, entry, message)
            await self._end_order(job, [entry])
        log.info("job %s: sent as one ZIP, without %s", job.id, missing)
        return True

    async def _fill_zip(
        self, archive: Path, job: Job, stems: SentStems, translate: Language, run: int
    ) -> list[str] | None:
        """Put all stems into the ZIP; returns the names of missing ones, `None` if the ZIP gets too large."""
        missing, taken = [], set[str]()
        for stem, sent in stems:
            file = await self.downloader.download_sent(job, stem, sent, archive.parent, translate, run)
            if file is None:
                missing.append(translate.stem(stem))
                continue
            name = unique_name(file.file_name, taken)
            with writing("ZIPs"):
                if await run_in_thread(add_to_zip, archive, file.path, name) > self.max_bytes:
                    return None
        return missing

    async def _refuse_zip(self, job: Job, translate: Language) -> None:
        limit = translate.size(self.max_bytes)
        await self._send_text(job, translate("pack.too_big", title=short_title(job, translate), limit=limit))

    async def _send_voices(self, job: Job, stems: SentStems, translate: Language, run: int) -> bool:
        """Send each stem as a voice message; returns False if no stem is available."""
        before = await self.store.packed(job.id)
        voice, missing, entries = OPUS, list[str](), list[str]()
        with temp_folder(WORKER_MIN_FREE_BYTES) as folder:
            for stem, sent in stems:
                entry = f"voice:{stem.key}"
                known = before.get(entry)
                if not (known and (known.message_id or await self._send_again(job, entry, known))):
                    file = await self.downloader.download_sent(job, stem, sent, folder, translate, run)
                    if file is None or not (used := await self._send_voice(job, entry, file, voice)):
                        missing.append(translate.stem(stem))
                        continue
                    voice = used
                entries.append(entry)
        if entries and missing:
            await self._send_text(job, _missing_text(missing, translate) or "")
        await self._end_order(job, entries)
        return bool(entries)

    async def _send_voice(
        self, job: Job, entry: str, file: DownloadedStem, voice: VoiceFormat
    ) -> VoiceFormat | None:
        """Send one stem, as audio if voice is forbidden; returns the format, `None` if it is no audio."""
        small = file.path.with_name("small")
        upload = Upload(small, PurePosixPath(file.file_name).with_suffix(voice.extension).name)
        labels: dict[str, Any] = {"title": file.title}
        if voice is OPUS:
            labels = {"caption": in_sentence(file.title, MAX_CAPTION)}
        try:
            with writing("voice messages"):
                duration_s = round(await run_in_thread(encode_voice, file.path, small, voice))
            kind = VOICE if voice is OPUS else AUDIO
            message = await self._send_file(job, kind, upload, duration=duration_s, **labels)
        except BadRequest as error:
            if voice is OPUS and obstacle_of(error) is Obstacle.NO_VOICE:
                return await self._send_voice(job, entry, file, AAC)
            raise
        except NotAudio as error:
            log.warning("job %s: %s cannot be made: %s", job.id, entry, error)
            return None
        await self._record(job, entry, message)
        return voice

    async def _send_again(self, job: Job, entry: str, known: Sent) -> bool:
        """Send an earlier file by its `file_id`; returns whether Telegram still has it."""
        if not known.file_id:
            return False
        try:
            message = await self._send_file(job, known.kind, known.file_id, caption=known.title or None)
        except BadRequest as error:
            if not is_refusal(error) and obstacle_of(error) is not Obstacle.NO_VOICE:
                raise
            log.info("job %s: %s is made again: %s", job.id, entry, error)
            return False
        await self._record(job, entry, message)
        return True

    async def _send_file(self, job: Job, kind: str, media: Upload | str, **labels: Any) -> Message:
        return await uncounted(self.sender.send_file(job, kind, media, **labels))

    async def _send_text(self, job: Job, text: str) -> None:
        await uncounted(self.sender.send_text(job, text))

    async def _record(self, job: Job, entry: str, message: Message) -> None:
        # the caption is stored as the title, so that the file keeps it when it is sent again
        sent = {entry: sent_as(message, message.caption or "")}
        what = f"job {job.id}: {entry} sent but not recorded yet"
        await retry_until_stored(lambda: self.store.tick_packed(job.id, sent), what)

    async def _end_order(self, job: Job, entries: Sequence[str]) -> None:
        """Forget the messages of a complete order, so that the next order sends the files again."""
        packed = await self.store.packed(job.id)
        done = {entry: replace(packed[entry], message_id=0) for entry in entries if entry in packed}
        if done:
            await self.store.tick_packed(job.id, done)


def _dead_letter_key(job: Job, kind: Run) -> str:
    return f"{Task.PACK}:{job.id}:{_ACTIONS[kind]}"


def _missing_text(missing: Sequence[str], translate: Language) -> str | None:
    names = ", ".join(in_sentence(name, MAX_NAME) for name in missing)
    return cut(translate("pack.missing", names=names), MAX_CAPTION) if missing else None
