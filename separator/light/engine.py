"""The light engine: stem separation with numpy and scipy, without a neural network.

It is for trying stemdrop and for simple needs: its quality is far below that of neural models. It fails on
mono mixes and on voices that are off centre or doubled wide.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from separator.audio.reader import Reader, SourceTags
from separator.audio.samples import SAMPLE_RATE, Floats
from separator.audio.writer import Writer
from separator.engine import REST, EngineRequest, Separation
from separator.light import STEMS
from separator.light.stream import separate


class LightEngine:
    """Vocals, drums, bass and other by soft masks that add up to one."""

    def separate(self, request: EngineRequest) -> Separation:
        wanted = STEMS if request.only is None else (request.only, REST)
        files = {stem: request.folder / f"{stem}.{request.file_format}" for stem in wanted}
        samples = 0
        with Reader(request.source, request.max_duration_s) as reader, ExitStack() as stack:
            encoders: dict[str, _Encoder] = {}
            pool = stack.enter_context(ThreadPoolExecutor(min(len(files), os.cpu_count() or 1)))
            for piece in stem_pieces(reader.blocks(), request.only):
                for stem, sound in piece.items():
                    if stem not in encoders:  # only now: the source has proved readable
                        writer = Writer(
                            files[stem], request.file_format, _tags(reader.tags, _label(stem, request.only))
                        )
                        encoders[stem] = stack.enter_context(_Encoder(writer, pool))
                    encoders[stem].write(sound)
                samples += next(iter(piece.values())).shape[1]
        return Separation(files, samples / SAMPLE_RATE)


def stem_pieces(blocks: Iterable[Floats], only: str | None) -> Iterator[dict[str, Floats]]:
    """Yield the stems of a song (stereo blocks at 44.1 kHz) in pieces of 2 × samples.

    `only` means this stem and `REST`; None means all. The last stem is the mix minus the others, which saves
    its synthesis and makes the sum exact.
    """
    computed = (only,) if only is not None else STEMS[:-1]
    remainder = REST if only is not None else STEMS[-1]
    for mix, stems in separate(blocks, computed):
        left = mix.copy()
        for sound in stems.values():
            left -= sound
        yield {**stems, remainder: left}


class _Encoder:
    """Encodes one file in a pool's threads, while the next block is separated."""

    def __init__(self, writer: Writer, pool: ThreadPoolExecutor) -> None:
        self._writer = writer
        self._pool = pool
        self._busy: Future[None] | None = None

    def __enter__(self) -> "_Encoder":
        self._writer.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._wait()
        self._writer.__exit__(*exception)

    def write(self, sound: Floats) -> None:
        self._wait()  # at most one block is pending, which bounds the memory
        self._busy = self._pool.submit(self._writer.write, sound)

    def _wait(self) -> None:
        if self._busy is not None:
            self._busy.result()


def _label(stem: str, only: str | None) -> str:
    if stem != REST:
        return stem
    return "instrumental" if only == "vocals" else f"without {only}"


def _tags(source: SourceTags, label: str) -> dict[str, str]:
    title = f"{source.title} ({label})" if source.title else ""
    return {"title": title, "artist": source.artist}
