"""Downloads the stems of one job to disk, a few at a time, while earlier ones are being sent."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from stemdrop.chat.translations import Language
from stemdrop.domain.audio_types import AudioFormat, extension_of_content
from stemdrop.domain.failures import CLOSED_CODES, TOO_BUSY
from stemdrop.domain.jobs import Job
from stemdrop.domain.results import Stem
from stemdrop.domain.song_facts import SongFacts
from stemdrop.domain.titles import MAX_NAME, cut, file_name, plain, title
from stemdrop.errors import (
    AddressRefused,
    BadContract,
    FetchFailed,
    Refused,
    SeparationError,
    StemGone,
    StemTooBig,
)
from stemdrop.provider.registry import Providers
from stemdrop.services.disk_space import writing
from worker.audio.formats import detect_format
from worker.audio.mp3_length import counted_length
from worker.audio.song_meter import SongMeter
from worker.audio.tags import Tags, write_tags
from worker.cancellable_thread import run_in_thread
from worker.stems.fetcher import StemFetcher

log = logging.getLogger(__name__)

FETCHES_PER_JOB = 3
# The limit for all downloads of a job: a server that is just quick enough must not hold a worker's place for
# hours. Twelve stems of 8 MB take so long at 80 kB/s; later ones count as missing, and can be fetched again.
STEMS_TIMEOUT_S = 1200
# So many packets of a file that states its own length are read, enough to find one with sound.
_PACKETS_OF_COUNTED = 50


@dataclass(frozen=True, slots=True)
class DownloadedStem:
    """A stem on disk; `title` and `file_name` are for the user, and a `duration_s` of 0 means unknown.

    `audio_format` decides how its tags are written; without one it gets none.
    """

    key: str
    title: str
    file_name: str
    path: Path
    duration_s: int
    audio_format: AudioFormat | None = None


@dataclass(frozen=True, slots=True)
class StemOutcome:
    """The outcome of one download: a file, a link if it is too large, silence, or nothing.

    `can_retry`: there is nothing, but a later try may succeed.
    """

    stem: Stem
    name: str
    file: DownloadedStem | None = None
    link: str = ""
    is_silent: bool = False
    can_retry: bool = False


@dataclass(frozen=True, slots=True)
class _Download:
    extension: str
    audio_format: AudioFormat | None
    duration_s: float
    is_silent: bool


@dataclass
class StemDownloads:
    """Downloads `stems` of `job` into `folder`: a context manager that cancels what still runs at its end.

    `cover` is a JPEG for their tags; `meter`, if any, measures them. If a URL has expired, or leads to no
    audio, the provider is asked once for fresh ones.
    """

    job: Job
    stems: Sequence[Stem]
    folder: Path
    translate: Language
    cover: bytes | None
    meter: SongMeter | None
    fetcher: StemFetcher
    providers: Providers
    _slots: asyncio.Semaphore = field(init=False, default_factory=lambda: asyncio.Semaphore(FETCHES_PER_JOB))
    _running: dict[str, asyncio.Task[StemOutcome]] = field(init=False, default_factory=dict)
    _fresh_urls: asyncio.Task[dict[str, str]] | None = field(init=False, default=None)
    _ends_at: float = field(init=False, default=0.0)  # by the loop's clock

    async def __aenter__(self) -> Self:
        self._ends_at = asyncio.get_running_loop().time() + STEMS_TIMEOUT_S
        self._running = {
            stem.key: asyncio.create_task(self._download(stem, self.folder / str(index)))
            for index, stem in enumerate(self.stems)
        }
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        running = [*self._running.values(), *([self._fresh_urls] if self._fresh_urls else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def outcome(self, stem: Stem) -> StemOutcome:
        """Wait for the end of this stem's download. Raises `TryLater` when the disk is full."""
        with writing("stems"):
            return await self._running[stem.key]

    async def _download(self, stem: Stem, target: Path) -> StemOutcome:
        name = self.translate.stem(stem)
        url = stem.url
        try:
            async with self._slots:
                try:
                    found = await self._fetch(stem, url, target)
                except StemGone:
                    url = await self._fresh_url(stem)
                    if not url or url == stem.url:
                        raise
                    found = await self._fetch(stem, url, target)
                if found.is_silent:
                    if self.meter:
                        self.meter.silent.add(stem.key)
                    return StemOutcome(stem, name, is_silent=True)
                if self.meter and found.audio_format:
                    await self.meter.measure(stem, target, found.audio_format, found.duration_s)
                file = describe(self.job, stem, self.translate, target, found.extension, found.duration_s)
                file = replace(file, audio_format=found.audio_format)
        except StemTooBig:
            return StemOutcome(stem, name, link=url)
        except FetchFailed as error:
            log.warning("job %s: stem %s cannot be fetched: %s", self.job.id, stem.key, error)
            return StemOutcome(stem, name, can_retry=not isinstance(error, StemGone | AddressRefused))
        return StemOutcome(stem, name, file)

    async def _fetch(self, stem: Stem, url: str, target: Path) -> _Download:
        """Fetch and inspect a stem. Raises as `StemFetcher.fetch`, and `StemGone` if it has no audio."""
        try:
            async with asyncio.timeout_at(self._ends_at):
                extension = await self.fetcher.fetch(url, target)
        except TimeoutError as error:
            raise FetchFailed(f"the job's downloads take more than {STEMS_TIMEOUT_S} s") from error
        return await run_in_thread(_inspect, target, extension, stem.duration_s)

    async def tag(self, outcomes: Sequence[StemOutcome], facts: SongFacts | None) -> None:
        """Write tags into the files; a file that cannot be tagged stays as it is."""
        files = [(it.stem, it.file, it.name) for it in outcomes if it.file]
        await asyncio.gather(*(self._tag(*file, facts) for file in files))

    async def _tag(self, stem: Stem, file: DownloadedStem, name: str, facts: SongFacts | None) -> None:
        if file.audio_format is None:
            return
        source, result = self.job.source, self.job.result
        keys = [found.key for found in result.stems] if result else [stem.key]
        tags = Tags(
            title=file.title,
            album=cut(plain(source.title), MAX_NAME) or self.translate("title.song"),
            stem=name,
            performer=cut(plain(source.performer), MAX_NAME),
            number=keys.index(stem.key) + 1,
            count=len(keys),
            cover=self.cover,
            facts=facts,
        )
        await write_tags_or_none(
            self.job, f"stem {stem.key}", file.path, file.audio_format, tags, self.fetcher.max_bytes
        )

    async def _fresh_url(self, stem: Stem) -> str:
        """Return the stem's fresh URL, "" without one. Raises `FetchFailed` if the provider is away."""
        if self._fresh_urls is None:
            self._fresh_urls = asyncio.create_task(self._ask_for_urls())
        return (await asyncio.shield(self._fresh_urls)).get(stem.key, "")

    async def _ask_for_urls(self) -> dict[str, str]:
        try:
            result = (await self.providers.fetch(self.job.task_id)).result
        except (SeparationError, BadContract) as error:
            if not self._is_final(error):
                raise FetchFailed(f"no fresh URLs now: {error}") from error
            log.info("job %s: no fresh URLs: %s", self.job.id, error)
            return {}
        return {stem.key: stem.url for stem in result.stems} if result else {}

    def _is_final(self, error: SeparationError | BadContract) -> bool:
        """Return whether the provider would not tell the URLs later either."""
        is_removed = self.providers.capabilities(self.job.task_id) is None
        return is_removed or (isinstance(error, Refused) and error.code not in (*CLOSED_CODES, TOO_BUSY))


async def write_tags_or_none(
    job: Job, what: str, path: Path, audio_format: AudioFormat, tags: Tags, max_bytes: int
) -> None:
    """Write tags into a file; a file that cannot be tagged stays as it is."""
    try:
        await run_in_thread(write_tags, path, audio_format, tags, max_bytes)
    except (ValueError, IndexError, OSError) as error:  # a broken file, or a full disk
        log.info("job %s: %s is sent without tags: %s", job.id, what, error)
    except Exception:
        log.exception("job %s: %s is sent without tags", job.id, what)


def describe(
    job: Job, stem: Stem, translate: Language, path: Path, extension: str, duration_s: float = 0
) -> DownloadedStem:
    """Return the stem's file with the title and the name that the user reads."""
    song, name, nameless = job.source.title, translate.stem(stem), translate("title.song")
    return DownloadedStem(
        stem.key,
        title(song, name, nameless),
        file_name(song, name, extension, nameless),
        path,
        # players take 0 for an unknown length
        max(1, round(duration_s)) if duration_s else 0,
    )


def _inspect(path: Path, extension: str, claimed_s: float) -> _Download:
    """Inspect a file; `extension` is what its server claims, `claimed_s` what the provider does. Blocking.

    Raises `StemGone` if the file has no audio.
    """
    from stemdrop.services.audio_files import MAX_PACKETS, inspect  # noqa: PLC0415
    from worker.audio.silence import is_silent  # noqa: PLC0415

    audio_format = detect_format(path)
    counted_s = counted_length(path) if audio_format is AudioFormat.MP3 else None
    content = inspect(path, _PACKETS_OF_COUNTED if counted_s else MAX_PACKETS)
    if audio_format is None and content is None:
        raise StemGone("it has no audio")
    return _Download(
        extension_of_content(content.demuxers if content else audio_format or "", extension),
        audio_format,
        counted_s or (content.duration_s if content else claimed_s),
        is_silent(path, audio_format),
    )
