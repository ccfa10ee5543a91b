"""Applies masks to the spectra of a song of any length in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from separator.audio.samples import Floats
from separator.audio.spectrum import HOP, LEAD, Spectra, Synthesis, analyse

_CHANNELS = 2

Masks = Callable[[Iterator[Spectra]], Iterator[tuple[Spectra, Sequence[Floats]]]]
"""Takes a song's spectra piece by piece and yields them again, each with its masks (see `Synthesis.add`)."""


def apply_masks(
    blocks: Iterable[Floats], masks: Masks, count: int, frames: int
) -> Iterator[tuple[Floats, list[Floats]]]:
    """Yield the mix in pieces (2 × samples), each with the `count` stems that the masks extract.

    `blocks` are stereo at 44.1 kHz (2 × samples) of any size. `masks` gets pieces of `frames` spectra; the
    last one may be shorter.
    """
    synthesis = [Synthesis(_CHANNELS) for _ in range(count)]
    mix = SampleQueue()
    length = 0

    def counted() -> Iterator[Floats]:
        nonlocal length
        for block in blocks:
            length += block.shape[1]
            mix.append(block)
            yield block

    done = -LEAD
    for spectra, parts in masks(_spectra(counted(), frames)):
        sounds = [made.add(spectra, mask) for made, mask in zip(synthesis, parts, strict=True)]
        samples = spectra.shape[1] * HOP
        del spectra, parts  # the next piece needs the memory
        first, last = max(0, -done), min(samples, length - done)
        done += samples
        if last > first:
            yield mix.take(last - first), [sound[:, first:last] for sound in sounds]


class SampleQueue:
    """Holds stereo samples (2 × n) until they are taken, first in, first out."""

    def __init__(self) -> None:
        self._parts: deque[Floats] = deque()
        self.count = 0

    def append(self, samples: Floats) -> None:
        self._parts.append(samples)
        self.count += samples.shape[1]

    def take(self, count: int, keep: int = 0) -> Floats:
        """Remove and return `count` samples, with the next `keep` ones, which stay in the queue."""
        taken: list[Floats] = []
        while sum(part.shape[1] for part in taken) < count + keep:
            taken.append(self._parts.popleft())
        joined = np.concatenate(taken, axis=1)
        self._parts.appendleft(joined[:, count:].copy())
        self.count -= count
        return joined[:, : count + keep]


def _spectra(blocks: Iterable[Floats], frames: int) -> Iterator[Spectra]:
    """Yield the song's spectra, `frames` at a time; each sample is in the same number of frames."""
    samples = SampleQueue()
    samples.append(np.zeros((_CHANNELS, LEAD), np.float32))
    for block in blocks:
        samples.append(block)
        while samples.count >= frames * HOP + LEAD:
            yield analyse(samples.take(frames * HOP, LEAD))
    samples.append(np.zeros((_CHANNELS, -samples.count % HOP + LEAD), np.float32))
    while samples.count > LEAD:
        yield analyse(samples.take(min(frames * HOP, samples.count - LEAD), LEAD))
