"""Applies the masks to a song of any length in bounded memory, block by block."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat

import numpy as np

from separator.audio.masking import apply_masks
from separator.audio.samples import Floats
from separator.audio.spectrum import Spectra
from separator.light.evidence import CONTEXT, Block, gather
from separator.light.levels import Levels, joined, measure
from separator.light.masks import masks

_BLOCK = 128  # frames, three seconds
_BEFORE, _AFTER = 7, 4  # blocks that are searched for repetitions


def separate(blocks: Iterable[Floats], stems: Sequence[str]) -> Iterator[tuple[Floats, dict[str, Floats]]]:
    """Yield the mix in pieces, each with the requested stems (from `STEMS`).

    `blocks` are stereo at 44.1 kHz (2 × samples) of any size. All four stems add up to the mix within float
    rounding, since the masks add up to 1.
    """

    def wanted(block: Block) -> tuple[Spectra, Sequence[Floats]]:
        spectra = block.spectra[:, CONTEXT:-CONTEXT]
        shares = np.empty((len(stems), *spectra.shape[1:]), np.float32)
        done = 0
        for evidence in gather(block):
            part = slice(done, done + evidence.shape[1])
            shares[:, part] = masks(evidence, stems)
            done = part.stop
        return spectra, list(shares)

    def all_wanted(spectra: Iterator[Spectra]) -> Iterator[tuple[Spectra, Sequence[Floats]]]:
        # a generator would keep each block until the next one, while the source may need the memory
        return map(wanted, _blocks(spectra))

    for mix, sounds in apply_masks(blocks, all_wanted, len(stems), _BLOCK):
        yield mix, dict(zip(stems, sounds, strict=True))


def _blocks(spectra: Iterable[Spectra]) -> Iterator[Block]:
    levels: deque[Levels] = deque(maxlen=_BEFORE + 1 + _AFTER)
    waiting: deque[Spectra] = deque()  # pieces that wait for the levels of those after them
    before: Spectra | None = None
    for latest in chain(spectra, repeat(None, _AFTER)):
        if latest is not None:
            levels.append(measure(latest))
            waiting.append(latest)
        if waiting and (latest is None or len(waiting) > _AFTER):
            current = waiting.popleft()
            following = waiting[0] if waiting else current[:, -1:]
            yield Block(_framed(before, current, following), *_joined(levels, len(levels) - 1 - len(waiting)))
            before = current[:, -CONTEXT:].copy()


def _framed(before: Spectra | None, current: Spectra, following: Spectra) -> Spectra:
    """Return `current` with `CONTEXT` frames on each side; edges are repeated."""
    if before is None:
        before = current[:, :1].repeat(CONTEXT, axis=1)
    after = following[:, np.minimum(range(CONTEXT), following.shape[1] - 1)]
    return np.concatenate([before, current, after], axis=1)


def _joined(levels: Iterable[Levels], position: int) -> tuple[Levels, slice]:
    """Return the levels joined, and the slice of them that is the part at `position`."""
    parts = list(levels)
    start = sum(len(part.codes) for part in parts[:position])
    return joined(parts), slice(start, start + len(parts[position].codes))
