"""Separates the voice from a song of any length with Spleeter's two networks, in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from separator.audio.masking import apply_masks
from separator.audio.samples import Floats
from separator.audio.spectrum import Spectra
from separator.spleeter.network import MULTIPLE, Network

_FRAMES = 512  # of a segment, twelve seconds: what the networks were trained on
_BINS = 1024  # up to 11 kHz, which the networks were trained on


class VoiceSeparator:
    """Separates the voice by a mask from two networks, which estimate the voice and everything else."""

    def __init__(self, vocals: Network, accompaniment: Network) -> None:
        self._networks = (vocals, accompaniment)

    def separate(self, blocks: Iterable[Floats]) -> Iterator[tuple[Floats, Floats]]:
        """Yield the mix and its vocals in pieces (2 × samples); `blocks` are a song's samples at 44.1 kHz."""

        def masks(spectra: Iterator[Spectra]) -> Iterator[tuple[Spectra, Sequence[Floats]]]:
            # a generator would keep each part until the next one, while the part's stems are separated
            return map(self._masked, spectra)

        for mix, (vocals,) in apply_masks(blocks, masks, 1, _FRAMES):
            yield mix, vocals

    def _masked(self, spectra: Spectra) -> tuple[Spectra, Sequence[Floats]]:
        return spectra, [self._mask(spectra)]

    def _mask(self, spectra: Spectra) -> Floats:
        """Return the voice's share of the power, 2 × frames × bins."""
        frames = spectra.shape[1]
        magnitude = np.abs(spectra[:, :, :_BINS])
        padded = np.pad(magnitude, ((0, 0), (0, -frames % MULTIPLE), (0, 0)))
        # one after the other: together they would need twice the memory
        vocals, rest = ((network(padded)[:, :frames] * magnitude) ** 2 for network in self._networks)
        tiny = np.float32(1e-10)
        mask = np.empty(spectra.shape, np.float32)
        mask[:, :, :_BINS] = (vocals + tiny / 2) / (vocals + rest + tiny)
        mask[:, :, _BINS:] = mask[:, :, :_BINS].mean(axis=2, keepdims=True)
        return mask
