"""The light engine: stem separation without a neural network, in numpy and scipy alone.

It is for trying things out and for simple needs. Its quality is far below that of neural models, and it fails
where they do not: when the voice is not in the centre of the stereo image, when it is doubled wide, when the
mix is mono.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from separator.audio.reader import SAMPLE_RATE, Reader, Tags
from separator.audio.writer import Writer
from separator.engine import REST, Order, Separation
from separator.light import STEMS
from separator.light.spectrum import Floats
from separator.light.stream import separate


class LightEngine:
    """Vocals, drums, bass and other by soft masks that add up to one; see `separator.engine.Engine`."""

    stems: tuple[str, ...] = STEMS

    def separate(self, order: Order) -> Separation:
        wanted = STEMS if order.only is None else (order.only, REST)
        files = {stem: order.folder / f"{stem}.{order.file_format}" for stem in wanted}
        samples = 0
        with Reader(order.source, order.max_duration_s) as reader, ExitStack() as stack:
            encoders: dict[str, _Encoder] = {}
            pool = stack.enter_context(ThreadPoolExecutor(min(len(files), os.cpu_count() or 1)))
            for piece in stem_pieces(reader.blocks(), order.only):
                for stem, sound in piece.items():
                    if stem not in encoders:  # not before the source has proved readable
                        writer = Writer(
                            files[stem], order.file_format, _tags(reader.tags, _label(stem, order.only))
                        )
                        encoders[stem] = stack.enter_context(_Encoder(writer, pool))
                    encoders[stem].write(sound)
                samples += next(iter(piece.values())).shape[1]
        return Separation(files, samples / SAMPLE_RATE)


def stem_pieces(blocks: Iterable[Floats], only: str | None) -> Iterator[dict[str, Floats]]:
    """Yield the stems of a song (stereo blocks at 44.1 kHz) piece by piece, each 2 × samples.

    With `only`, this stem and `REST`; otherwise all. The last one is what the others leave of the mix, which
    spares its synthesis and makes the sum exact.
    """
    computed = (only,) if only is not None else STEMS[:-1]
    remainder = REST if only is not None else STEMS[-1]
    for mix, stems in separate(blocks, computed):
        left = mix.copy()
        for sound in stems.values():
            left -= sound
        yield {**stems, remainder: left}


class _Encoder:
    """Writes one file in a pool's threads: a block is encoded while the next one is separated."""

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
        self._wait()  # one block in hand at most, so that memory stays bounded
        self._busy = self._pool.submit(self._writer.write, sound)

    def _wait(self) -> None:
        if self._busy is not None:
            self._busy.result()


def _label(stem: str, only: str | None) -> str:
    if stem != REST:
        return stem
    return "instrumental" if only == "vocals" else f"without {only}"


def _tags(source: Tags, label: str) -> dict[str, str]:
    title = f"{source.title} ({label})" if source.title else ""
    return {"title": title, "artist": source.artist}
