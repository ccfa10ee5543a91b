"""Separates the voice from a song of any length with Spleeter's two networks, in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from separator.audio.masking import apply_masks
from separator.audio.samples import Floats
from separator.audio.spectrum import Spectra
from separator.spleeter.network import MULTIPLE, Network

_FRAMES = 256  # of a segment, six seconds: as good as 512 with context, and half the memory
_BINS = 1024  # up to 11 kHz, which the networks were trained on


class VoiceSeparator:
    """Holds the networks for the voice and for everything else, whose estimates make the voice's mask."""

    def __init__(self, vocals: Network, accompaniment: Network) -> None:
        self._networks = (vocals, accompaniment)

    def separate(self, blocks: Iterable[Floats]) -> Iterator[tuple[Floats, Floats]]:
        """Yield the mix and its vocals in pieces (2 × samples); `blocks` are a song's samples at 44.1 kHz."""
        with ThreadPoolExecutor(len(self._networks)) as pool:

            def masks(spectra: Iterator[Spectra]) -> Iterator[tuple[Spectra, Sequence[Floats]]]:
                for part in spectra:
                    yield part, [self._mask(part, pool)]

            for mix, (vocals,) in apply_masks(blocks, masks, 1, _FRAMES):
                yield mix, vocals

    def _mask(self, spectra: Spectra, pool: ThreadPoolExecutor) -> Floats:
        """Return the voice's share of the power, 2 × frames × bins."""
        frames = spectra.shape[1]
        magnitude = np.abs(spectra[:, :, :_BINS])
        padded = np.pad(magnitude, ((0, 0), (0, -frames % MULTIPLE), (0, 0)))
        vocals, rest = pool.map(lambda network: network(padded)[:, :frames], self._networks)
        vocals, rest = (vocals * magnitude) ** 2, (rest * magnitude) ** 2
        tiny = np.float32(1e-10)
        mask = np.empty(spectra.shape, np.float32)
        mask[:, :, :_BINS] = (vocals + tiny / 2) / (vocals + rest + tiny)
        mask[:, :, _BINS:] = mask[:, :, :_BINS].mean(axis=2, keepdims=True)
        return mask
