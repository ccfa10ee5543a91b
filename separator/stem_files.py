"""Writes the stem files of one separation while the next piece is separated."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from separator.audio.formats import FileFormat
from separator.audio.reader import Reader, SourceTags
from separator.audio.samples import SAMPLE_RATE, Floats
from separator.audio.writer import Writer
from separator.engine import REST, EngineRequest, Separation

_MP3_SUFFIX = f".{FileFormat.MP3}"

Pieces = Callable[[Iterable[Floats]], Iterator[Mapping[str, Floats]]]
"""Takes a song in blocks (2 × samples at 44.1 kHz) and yields its stems in pieces that add up to it."""


def write_stems(request: EngineRequest, separate: Pieces) -> Separation:
    """Decode the source, separate it and encode one file per stem, as long as the song.

    A file that exceeds the request's limit is replaced by an MP3 file, to which the rest is written.
    Raises `UnreadableSourceError` for a source that does not decode or is too long.
    """
    files: dict[str, _Encoder] = {}
    samples = 0
    with Reader(request.source, request.max_duration_s) as reader, ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(os.cpu_count() or 1))
        for piece in separate(reader.blocks()):
            for stem, sound in piece.items():
                if stem not in files:  # only now: the source has proved readable
                    files[stem] = stack.enter_context(_Encoder(request, stem, reader, pool))
                files[stem].write(sound)
            samples += next(iter(piece.values())).shape[1]
    return Separation({stem: encoder.file for stem, encoder in files.items()}, samples / SAMPLE_RATE)


class _Encoder:
    """Encodes one file in a pool's threads."""

    def __init__(self, request: EngineRequest, stem: str, source: Reader, pool: ThreadPoolExecutor) -> None:
        self.file = request.folder / f"{stem}.{request.file_format}"
        self._request = request
        self._stem_tags = _tags(source.tags, _label(stem, request.only))
        self._writer = Writer(self.file, request.file_format, self._stem_tags, is_fine=source.is_fine)
        self._pool = pool
        self._busy: Future[None] | None = None

    def __enter__(self) -> "_Encoder":
        self._writer.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._wait()
        self._writer.__exit__(*exception)
        if exception[0] is None and self._is_too_large():  # the last samples have made it so
            self._go_on_as_mp3()
            self._writer.__exit__(*exception)

    def write(self, sound: Floats) -> None:
        self._wait()  # at most one piece is pending, which bounds the memory
        self._busy = self._pool.submit(self._write, sound)

    def _write(self, sound: Floats) -> None:
        self._writer.write(sound)
        if self._is_too_large():
            self._writer.__exit__(None, None, None)
            self._go_on_as_mp3()

    def _is_too_large(self) -> bool:
        limit = self._request.max_file_bytes
        if not limit or self.file.suffix == _MP3_SUFFIX:
            return False
        # FLAC is not written before the first 4,608 samples
        return self.file.exists() and self.file.stat().st_size > limit

    def _go_on_as_mp3(self) -> None:
        large, self.file = self.file, self.file.with_suffix(_MP3_SUFFIX)
        self._writer = Writer(self.file, FileFormat.MP3, self._stem_tags)
        with Reader(large, self._request.max_duration_s) as reader:
            for block in reader.blocks():
                self._writer.write(block)
        large.unlink()

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
