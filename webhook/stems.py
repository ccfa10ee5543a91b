"""One job's stems onto the disk: a few at a time, in order, while earlier ones are being sent."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stemdrop.errors import BadContract, FetchFailed, SeparationError, StemGone, StemTooBig, TryLater
from stemdrop.jobs import Job
from stemdrop.results import Stem
from stemdrop.separation import SeparationClient
from stemdrop.texts import Language
from webhook.albums import StemFile
from webhook.fetch import StemFetcher

log = logging.getLogger(__name__)

FETCHES_PER_JOB = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one stem: a file, a link where it is too big, or neither. `name` is for the user."""

    stem: Stem
    name: str
    file: StemFile | None = None
    link: str = ""


class JobStems:
    """Fetches `stems` of `job` into `folder` from when the block begins; ends with it, whatever is left.

    URLs that have expired are asked for anew, once for all of them.
    """

    def __init__(
        self,
        job: Job,
        stems: Sequence[Stem],
        folder: Path,
        say: Language,
        fetcher: StemFetcher,
        separation: SeparationClient,
    ) -> None:
        self._job = job
        self._stems = stems
        self._folder = folder
        self._say = say
        self._fetcher = fetcher
        self._separation = separation
        self._slots = asyncio.Semaphore(FETCHES_PER_JOB)
        self._running: dict[str, asyncio.Task[Outcome]] = {}
        self._asking: asyncio.Task[dict[str, str]] | None = None

    async def __aenter__(self) -> Self:
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
                    extension = await self._fetcher.fetch(url, target)
                except StemGone:
                    url = await self._fresh_url(stem)
                    if not url or url == stem.url:
                        raise
                    extension = await self._fetcher.fetch(url, target)
        except StemTooBig:
            return Outcome(stem, name, link=url)
        except OSError as error:
            raise TryLater(60, f"stems cannot be written: {error.strerror}") from error
        except FetchFailed as error:
            log.warning("job %s: stem %s cannot be fetched: %s", self._job.id, stem.key, error)
            return Outcome(stem, name)
        duration_s = round(stem.duration_s) or self._job.source.duration_s
        return Outcome(stem, name, StemFile(stem.key, name, target, extension, duration_s))

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
