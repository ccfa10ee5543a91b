"""Separates a song of any length in overlapping segments, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from separator.audio.masking import SampleQueue
from separator.audio.samples import Floats
from separator.engine import REST
from separator.htdemucs import STEMS
from separator.htdemucs.segment import SEGMENT, SOURCES

Separate = Callable[[Floats], Floats]
"""Takes 2 × `SEGMENT` samples and returns their sources, sources × 2 × `SEGMENT`."""

_OVERLAP = SEGMENT // 4
_FADE: Floats = (np.arange(1, _OVERLAP + 1) / (_OVERLAP + 1)).astype(np.float32)


def stem_pieces(blocks: Iterable[Floats], only: str | None, network: Separate) -> Iterator[dict[str, Floats]]:
    """Yield the stems in pieces of 2 × samples that add up to the mix; see `EngineRequest.only`."""
    for mix, sources in separate(blocks, network):
        # The network's sources do not quite add up to the mix: each gets a quarter of the rest (-32 dB).
        whole = sources + (mix - sources.sum(axis=0)) / len(SOURCES)
        stems = {stem: whole[SOURCES.index(stem)] for stem in STEMS}
        yield stems if only is None else {only: stems[only], REST: mix - stems[only]}


def separate(blocks: Iterable[Floats], network: Separate) -> Iterator[tuple[Floats, Floats]]:
    """Yield the mix in pieces (2 × samples), each with its sources (sources × 2 × samples).

    `blocks` are stereo at 44.1 kHz (2 × samples) of any size. Each segment fades into the next one.
    """
    ending: Floats | None = None  # the previous segment's sources of the overlap
    for segment, new, is_last in _segments(blocks):
        start = SEGMENT - new - (0 if ending is None else _OVERLAP)
        sources = network(segment)[..., start:]
        if ending is not None:
            sources[..., :_OVERLAP] *= _FADE
            sources[..., :_OVERLAP] += (1 - _FADE) * ending
        done = sources.shape[-1] - (0 if is_last else _OVERLAP)
        ending = sources[..., done:].copy()
        yield segment[:, start : start + done], sources[..., :done]


def _segments(blocks: Iterable[Floats]) -> Iterator[tuple[Floats, int, bool]]:
    """Yield segments, how many samples at the end of each are new, and whether it is the last one.

    Earlier samples fill up the last segment; only a song shorter than a segment begins with silence.
    """
    segment: Floats = np.zeros((2, SEGMENT), np.float32)
    waiting = SampleQueue()
    wanted = SEGMENT
    for block in blocks:
        waiting.append(block)
        while waiting.count > wanted:  # so that samples are left for the last segment
            segment = np.concatenate([segment[:, wanted:], waiting.take(wanted)], axis=1)
            yield segment, wanted, False
            wanted = SEGMENT - _OVERLAP
    new = waiting.count
    if new:
        yield np.concatenate([segment[:, new:], waiting.take(new)], axis=1), new, True
