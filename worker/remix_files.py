"""Makes the files of a remix: fetches the audible stems, mixes them and tags the mixes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from stemdrop.chat.translations import Translations
from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.recipes import Recipe
from stemdrop.domain.results import Stem
from stemdrop.domain.titles import MAX_NAME, cut, plain
from stemdrop.observability.metric_definitions import RENDER_SECONDS
from stemdrop.services.disk_space import writing
from stemdrop.storage.counters import Counters
from worker.audio.formats import detect_format
from worker.audio.mix_input import MixInput
from worker.audio.tags import Tags
from worker.cancellable_thread import run_in_thread
from worker.render_order import RenderOrder
from worker.stems.download import FETCHES_PER_JOB, DownloadedStem, write_tags_or_none
from worker.stems.downloader import StemDownloader

# Each process renders one remix at a time, because a render needs a whole core.
RENDERS_AT_ONCE = 1
_EXTENSIONS = {AudioFormat.MP3: ".mp3", AudioFormat.FLAC: ".flac"}
_NOT_SENT = Sent(0, "", "")


@dataclass
class Progress:
    """How much of an order is rendered: `share`, from 0 to 1, which the rendering thread writes."""

    recipes: int
    done: int = 0
    share: float = 0.0

    def note(self, share: float) -> None:
        """Note how much of the current recipe is rendered, from 0 to 1."""
        self.share = (self.done + share) / self.recipes


@dataclass
class RemixFiles:
    """The files that were made, by the numbers of their recipes, and why others are lacking.

    `missing` holds the names of stems, `too_big` the titles of remixes. `is_silent`: all recipes are silent.
    """

    files: dict[int, DownloadedStem] = field(default_factory=dict)
    cover: bytes | None = None
    missing: list[str] = field(default_factory=list)
    too_big: list[str] = field(default_factory=list)
    is_silent: bool = False


@dataclass(kw_only=True)
class RemixMaker:
    """Makes remixes of any job; one object serves all renders of a process."""

    downloader: StemDownloader
    translations: Translations
    counters: Counters
    max_bytes: int
    _slots: asyncio.Semaphore = field(init=False, default_factory=lambda: asyncio.Semaphore(RENDERS_AT_ONCE))

    @property
    def is_busy(self) -> bool:
        """Whether another render is running, for which a new one has to wait."""
        return self._slots.locked()

    async def make(
        self,
        order: RenderOrder,
        recipes: Mapping[int, Recipe],
        sent: Mapping[str, Sent],
        folder: Path,
        progress: Progress,
    ) -> RemixFiles:
        """Make a file for each recipe from the job's `sent` stems, in `folder`, without stems that are gone.

        Raises as `StemDownloader.download_sent`, and `NotAudio`.
        """
        made = RemixFiles()
        heard = [
            stem
            for stem in self._audible(order, sent)
            if any(it.heard([stem.key]) for it in recipes.values())
        ]
        made.is_silent = not heard
        inputs = await self._fetch(order, heard, sent, folder)
        made.missing = [order.translate.stem(stem) for stem in heard if stem.key not in inputs]
        made.cover = await self.downloader.cover(order.job) if inputs else None
        for number, recipe in recipes.items():
            mixed = [
                MixInput(it.path, it.audio_format, recipe.gain(key))
                for key, it in inputs.items()
                if recipe.heard([key])
            ]
            if mixed and (file := await self._mix(order, number, mixed, folder, progress)):
                made.files[number] = file
                await self._tag(order, number, file, made.cover)
            elif mixed:
                made.too_big.append(order.title(recipe))
            progress.done += 1
        return made

    def _audible(self, order: RenderOrder, sent: Mapping[str, Sent]) -> list[Stem]:
        """Return the job's stems without the silent ones, which were not sent."""
        named, silent = self.translations.language(order.job.language).stem, order.job.silent
        # stems of one name are told apart by their keys
        return [stem for stem in order.stems if stem.key in sent or named(stem) not in silent]

    async def _fetch(
        self, order: RenderOrder, stems: Sequence[Stem], sent: Mapping[str, Sent], folder: Path
    ) -> dict[str, MixInput]:
        """Fetch the stems, a few at a time, and return them by key, without stems that are gone."""
        slots = asyncio.Semaphore(FETCHES_PER_JOB)

        async def fetch(stem: Stem, place: Path) -> MixInput | None:
            async with slots:
                with writing("stems"):
                    await anyio.Path(place).mkdir()
                known = sent.get(stem.key, _NOT_SENT)
                file = await self.downloader.download_sent(
                    order.job, stem, known, place, order.translate, order.run
                )
                audio_format = await run_in_thread(detect_format, file.path) if file else None
            return MixInput(file.path, audio_format) if file and audio_format else None

        running = [
            asyncio.create_task(fetch(stem, folder / f"stem-{number}")) for number, stem in enumerate(stems)
        ]
        try:
            found = await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return {stem.key: given for stem, given in zip(stems, found, strict=True) if given}

    async def _mix(
        self,
        order: RenderOrder,
        number: int,
        inputs: Sequence[MixInput],
        folder: Path,
        progress: Progress,
    ) -> DownloadedStem | None:
        """Mix one recipe; returns `None` if the file is larger than Telegram accepts even as MP3."""
        recipe, path = order.recipes[number], folder / f"mix-{number}"
        formats = (AudioFormat.FLAC, AudioFormat.MP3) if order.job.is_lossless else (AudioFormat.MP3,)
        for audio_format in formats:
            async with self._slots:
                with self.counters.timed(RENDER_SECONDS):
                    length_s = await _mix_down(order, recipe, inputs, path, audio_format, progress)
            if path.stat().st_size <= self.max_bytes:
                name = order.file_name(recipe, _EXTENSIONS[audio_format])
                duration_s = max(1, round(length_s))
                return DownloadedStem(str(number), order.title(recipe), name, path, duration_s, audio_format)
        path.unlink()
        return None

    async def _tag(self, order: RenderOrder, number: int, file: DownloadedStem, cover: bytes | None) -> None:
        recipe, source = order.recipes[number], order.job.source
        tags = Tags(
            title=file.title,
            album=cut(plain(source.title), MAX_NAME) or order.translate("title.song"),
            stem=order.words(recipe),
            performer=cut(plain(source.performer), MAX_NAME),
            number=number + 1,
            count=len(order.recipes),
            cover=cover,
            facts=order.facts(recipe),
        )
        if file.audio_format:
            await write_tags_or_none(order.job, "a remix", file.path, file.audio_format, tags, self.max_bytes)


async def _mix_down(
    order: RenderOrder,
    recipe: Recipe,
    inputs: Sequence[MixInput],
    path: Path,
    audio_format: AudioFormat,
    progress: Progress,
) -> float:
    def render() -> float:
        from worker.audio.mixdown import mix_down  # noqa: PLC0415

        return mix_down(inputs, recipe, order.job.facts, path, audio_format, progress.note)

    with writing("remixes"):
        return await run_in_thread(render)
