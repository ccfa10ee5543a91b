"""Applies the masks to a song of any length in bounded memory, in blocks of ten seconds."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from separator.audio.samples import Floats
from separator.light import STEMS
from separator.light.evidence import CONTEXT, Block, gather, magnitude
from separator.light.masks import masks
from separator.light.spectrum import HOP, LEAD, Spectra, Synthesis, analyse

_BLOCK = 430  # frames, ten seconds
_BLOCKS_BEFORE = 2  # searched for repetitions, beside the block after
_CHANNELS = 2


def separate(blocks: Iterable[Floats], stems: Sequence[str]) -> Iterator[tuple[Floats, dict[str, Floats]]]:
    """Yield the mix in pieces, each with the requested stems (from `STEMS`).

    `blocks` are stereo at 44.1 kHz (2 × samples) of any size. All four stems add up to the mix within float
    rounding, since the masks add up to 1.
    """
    synthesis = {stem: Synthesis(_CHANNELS) for stem in stems}
    mix = _SampleQueue()
    length = 0

    def counted() -> Iterator[Floats]:
        nonlocal length
        for block in blocks:
            length += block.shape[1]
            mix.append(block)
            yield block

    done = -LEAD
    for block in _blocks(_spectra(counted())):
        shares = masks(gather(block))
        inner = block.spectra[:, block.inner]
        sound = {stem: synthesis[stem].add(inner, shares[STEMS.index(stem)]) for stem in stems}
        count = inner.shape[1] * HOP
        first, last = max(0, -done), min(count, length - done)
        done += count
        if last > first:
            yield mix.take(last - first), {stem: part[:, first:last] for stem, part in sound.items()}


class _SampleQueue:
    def __init__(self) -> None:
        self._parts: list[Floats] = []
        self.count = 0

    def append(self, samples: Floats) -> None:
        self._parts.append(samples)
        self.count += samples.shape[1]

    def take(self, count: int, keep: int = 0) -> Floats:
        """Remove and return `count` samples, with the next `keep` ones, which stay in the queue."""
        joined = np.concatenate(self._parts, axis=1)
        self._parts = [joined[:, count:].copy()]
        self.count -= count
        return joined[:, : count + keep]


def _spectra(blocks: Iterable[Floats]) -> Iterator[Spectra]:
    """Yield the song's spectra, `_BLOCK` frames at a time; each sample is in the same number of frames."""
    samples = _SampleQueue()
    samples.append(np.zeros((_CHANNELS, LEAD), np.float32))
    for block in blocks:
        samples.append(block)
        while samples.count >= _BLOCK * HOP + LEAD:
            yield analyse(samples.take(_BLOCK * HOP, LEAD))
    samples.append(np.zeros((_CHANNELS, -samples.count % HOP + LEAD), np.float32))
    while samples.count > LEAD:
        yield analyse(samples.take(min(_BLOCK * HOP, samples.count - LEAD), LEAD))


def _blocks(spectra: Iterable[Spectra]) -> Iterator[Block]:
    before: deque[Floats] = deque(maxlen=_BLOCKS_BEFORE)
    tail: Spectra | None = None
    current: Spectra | None = None
    for following in spectra:
        if current is not None:
            yield _block(before, tail, current, following)
            before.append(magnitude(current))
            tail = current[:, -CONTEXT:].copy()
        current = following
    if current is not None:
        yield _block(before, tail, current, None)


def _block(
    before: Iterable[Floats], tail: Spectra | None, current: Spectra, following: Spectra | None
) -> Block:
    count = current.shape[1]
    pieces = [current] if tail is None else [tail, current]
    start = 0 if tail is None else tail.shape[1]
    magnitudes = [*before, magnitude(current)]
    offset = sum(len(part) for part in magnitudes[:-1])
    if following is not None:
        pieces.append(following[:, :CONTEXT])
        magnitudes.append(magnitude(following))
    return Block(
        spectra=np.concatenate(pieces, axis=1),
        inner=slice(start, start + count),
        surroundings=np.concatenate(magnitudes),
        within=slice(offset, offset + count),
    )
