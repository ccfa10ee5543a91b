"""The short-time Fourier transform and its inverse, block by block, with four overlapping frames."""

import numpy as np
import numpy.typing as npt

from separator.audio.samples import SAMPLE_RATE, Floats

Spectra = npt.NDArray[np.complex64]
"""Shape channels × frames × bins."""

FRAME = 4096
HOP = 1024
BINS = FRAME // 2 + 1
OVERLAP = FRAME // HOP
LEAD = FRAME - HOP
"""Samples of silence before a song, so that its first sample is in as many frames as every other."""

FREQUENCIES: Floats = (np.arange(BINS) * SAMPLE_RATE / FRAME).astype(np.float32)
_WINDOW: Floats = np.hanning(FRAME + 1)[:FRAME].astype(np.float32)
# numpy's FFT has single precision only where it divides by the length; `_ANALYSIS` undoes the division.
_ANALYSIS = _WINDOW * np.float32(FRAME)
_SYNTHESIS = _WINDOW / np.float32(1.5)  # the sum of four overlapping squared Hann windows
_AT_ONCE = 16  # frames per call, so that the working set stays in the cache


def analyse(samples: Floats) -> Spectra:
    """Return the spectra of all complete frames in `samples` (channels × samples)."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME, axis=1)[:, ::HOP]
    spectra = np.empty((*frames.shape[:2], BINS), np.complex64)
    for start in range(0, frames.shape[1], _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        np.fft.rfft(frames[:, part] * _ANALYSIS, norm="forward", out=spectra[:, part])
    return spectra


class Synthesis:
    """Adds up the overlapping frames of one stream; holds back samples that later frames still change."""

    def __init__(self, channels: int) -> None:
        self._held: Floats = np.zeros((channels, FRAME - HOP), np.float32)

    def add(self, spectra: Spectra, mask: Floats) -> Floats:
        """Return the samples that these frames complete (channels × samples).

        `mask` scales the spectra: frames × bins for all channels, or channels × frames × bins.
        """
        channels, count = spectra.shape[:2]
        sound = np.zeros((channels, count + OVERLAP - 1, HOP), np.float32)
        sound.reshape(channels, -1)[:, : FRAME - HOP] = self._held
        for start in range(0, count, _AT_ONCE):
            part = slice(start, min(start + _AT_ONCE, count))
            frames = np.fft.irfft(spectra[:, part] * mask[..., part, :])
            frames *= _SYNTHESIS
            pieces = frames.reshape(channels, -1, OVERLAP, HOP)
            for shift in range(OVERLAP):
                sound[:, part.start + shift : part.stop + shift] += pieces[:, :, shift]
        samples = sound.reshape(channels, -1)
        self._held = samples[:, count * HOP :].copy()
        return samples[:, : count * HOP]
