"""One job's stems onto the disk, named and tagged: a few at a time, in order, while earlier ones are being
sent."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stemdrop.chat.translations import Language
from stemdrop.domain.audio_types import AudioFormat, extension_of_format
from stemdrop.domain.jobs import Job
from stemdrop.domain.results import Stem
from stemdrop.domain.titles import MAX_NAME, cut, file_name, plain, title
from stemdrop.errors import BadContract, FetchFailed, SeparationError, StemGone, StemTooBig, TryLater
from stemdrop.provider.client import SeparationClient
from worker.audio.formats import detect_format, has_audio
from worker.audio.silence import is_silent
from worker.audio.tags import Tags, write_tags
from worker.stems.album_sender import StemFile
from worker.stems.fetcher import StemFetcher
from worker.stems.temp_folders import in_thread

log = logging.getLogger(__name__)

FETCHES_PER_JOB = 3
# All fetches of a job together: a server that is just quick enough must not keep other jobs waiting for
# hours. Twelve stems of 8 MB at 80 kB/s; what is not there by then is named, and can be fetched again.
LONGEST_S = 1200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one stem: a file, a link where it is too big, silence, or nothing. `name` is for the
    user."""

    stem: Stem
    name: str
    file: StemFile | None = None
    link: str = ""
    is_silent: bool = False


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a fetched file turned out to be; `extension` fits its form."""

    extension: str
    form: AudioFormat | None
    is_silent: bool


class JobStems:
    """Fetches `stems` of `job` into `folder` from when the block begins; ends with it, whatever is left.

    `cover` is a JPEG for their tags. URLs that have expired, or lead to no audio, are asked for anew, once
    for all of them.
    """

    def __init__(
        self,
        job: Job,
        stems: Sequence[Stem],
        folder: Path,
        cover: bytes | None,
        say: Language,
        fetcher: StemFetcher,
        separation: SeparationClient,
    ) -> None:
        self._job = job
        self._stems = stems
        self._folder = folder
        self._cover = cover
        self._say = say
        self._fetcher = fetcher
        self._separation = separation
        self._slots = asyncio.Semaphore(FETCHES_PER_JOB)
        self._running: dict[str, asyncio.Task[Outcome]] = {}
        self._asking: asyncio.Task[dict[str, str]] | None = None
        self._ends_at = 0.0  # by the loop's clock

    async def __aenter__(self) -> Self:
        self._ends_at = asyncio.get_running_loop().time() + LONGEST_S
        self._running = {
            stem.key: asyncio.create_task(self._fetch(stem, self._folder / str(index)))
            for index, stem in enumerate(self._stems)
        }
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        running = [*self._running.values(), *([self._asking] if self._asking else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def outcome(self, stem: Stem) -> Outcome:
        """Waits until this stem is fetched, or is known not to be had."""
        return await self._running[stem.key]

    async def _fetch(self, stem: Stem, target: Path) -> Outcome:
        name = self._say.stem(stem)
        url = stem.url
        try:
            async with self._slots:
                try:
                    heard = await self._hear(url, target)
                except StemGone:
                    url = await self._fresh_url(stem)
                    if not url or url == stem.url:
                        raise
                    heard = await self._hear(url, target)
                if heard.is_silent:
                    return Outcome(stem, name, is_silent=True)
                file = self._named(stem, name, target, heard.extension)
                if heard.form:
                    await self._tag(stem, file, name, heard.form)
        except StemTooBig:
            return Outcome(stem, name, link=url)
        except OSError as error:
            raise TryLater(60, f"stems cannot be written: {error.strerror}") from error
        except FetchFailed as error:
            log.warning("job %s: stem %s cannot be fetched: %s", self._job.id, stem.key, error)
            return Outcome(stem, name)
        return Outcome(stem, name, file)

    async def _hear(self, url: str, target: Path) -> _Heard:
        """Fetch it and see what it is. Raises as the fetcher does, and `StemGone` for what is no audio."""
        try:
            async with asyncio.timeout_at(self._ends_at):
                named = await self._fetcher.fetch(url, target)
        except TimeoutError as error:
            raise FetchFailed(f"not there in the {LONGEST_S} s that all stems have") from error
        return await in_thread(_listen, target, named)

    def _named(self, stem: Stem, name: str, path: Path, extension: str) -> StemFile:
        song, nameless = self._job.source.title, self._say("title.song")
        duration_s = round(stem.duration_s) or self._job.source.duration_s
        return StemFile(
            stem.key,
            title(song, name, nameless),
            file_name(song, name, extension, nameless),
            path,
            duration_s,
        )

    async def _tag(self, stem: Stem, file: StemFile, name: str, form: AudioFormat) -> None:
        """A courtesy: a file that takes no tags is sent without."""
        source, result = self._job.source, self._job.result
        keys = [found.key for found in result.stems] if result else [stem.key]
        tags = Tags(
            title=file.title,
            album=cut(plain(source.title), MAX_NAME) or self._say("title.song"),
            stem=name,
            performer=cut(plain(source.performer), MAX_NAME),
            number=keys.index(stem.key) + 1,
            count=len(keys),
            cover=self._cover,
        )
        try:
            await in_thread(write_tags, file.path, form, tags, self._fetcher.max_bytes)
        except Exception as error:  # a stranger's file can break any reader of it in any way
            why = f"{type(error).__name__}: {error}"
            log.info("job %s: stem %s is sent without tags: %s", self._job.id, stem.key, why)

    async def _fresh_url(self, stem: Stem) -> str:
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return (await asyncio.shield(self._asking)).get(stem.key, "")

    async def _ask(self) -> dict[str, str]:
        try:
            result = await self._separation.detail(self._job.task_id)
        except (SeparationError, BadContract) as error:
            log.info("job %s: no fresh URLs: %s", self._job.id, error)
            return {}
        return {stem.key: stem.url for stem in result.stems} if result else {}


def _listen(path: Path, named: str) -> _Heard:
    """`named` is the extension that its server gave it. Raises `StemGone`. Blocking."""
    form = detect_format(path)
    if form is None and not has_audio(path):
        raise StemGone("it is no audio")
    return _Heard(extension_of_format(form, named), form, is_silent(path, form))
