"""Applies the masks to a song of any length in bounded memory, in blocks of ten seconds."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from separator.audio.masking import apply_masks
from separator.audio.samples import Floats
from separator.audio.spectrum import Spectra
from separator.light import STEMS
from separator.light.evidence import CONTEXT, Block, gather, magnitude
from separator.light.masks import masks

_BLOCK = 430  # frames, ten seconds
_BLOCKS_BEFORE = 2  # searched for repetitions, beside the block after


def separate(blocks: Iterable[Floats], stems: Sequence[str]) -> Iterator[tuple[Floats, dict[str, Floats]]]:
    """Yield the mix in pieces, each with the requested stems (from `STEMS`).

    `blocks` are stereo at 44.1 kHz (2 × samples) of any size. All four stems add up to the mix within float
    rounding, since the masks add up to 1.
    """

    def wanted(block: Block) -> tuple[Spectra, Sequence[Floats]]:
        shares = masks(gather(block))
        return block.spectra[:, block.inner], [shares[STEMS.index(stem)] for stem in stems]

    def all_wanted(spectra: Iterator[Spectra]) -> Iterator[tuple[Spectra, Sequence[Floats]]]:
        # a generator would keep each block until the next one, while the source may need the memory
        return map(wanted, _blocks(spectra))

    for mix, sounds in apply_masks(blocks, all_wanted, len(stems), _BLOCK):
        yield mix, dict(zip(stems, sounds, strict=True))


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
