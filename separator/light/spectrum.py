"""Sound to spectra and back, block by block: a Fourier transform whose frames overlap fourfold."""

import numpy as np
import numpy.typing as npt
import scipy.fft

Floats = npt.NDArray[np.float32]
Spectra = npt.NDArray[np.complex64]
"""Shape channels × frames × bins."""

SAMPLE_RATE = 44_100
FRAME = 4096
HOP = 1024
BINS = FRAME // 2 + 1
OVERLAP = FRAME // HOP
LEAD = FRAME - HOP
"""Silence put before a song, in samples, so that its first sample lies in as many frames as every other."""

FREQUENCIES: Floats = (np.arange(BINS) * SAMPLE_RATE / FRAME).astype(np.float32)
_WINDOW: Floats = np.hanning(FRAME + 1)[:FRAME].astype(np.float32)
_WINDOW_GAIN = 1.5  # what four overlapping squared Hann windows add up to
_AT_ONCE = 64  # frames transformed in one call: the working set stays in the cache


def analyse(samples: Floats) -> Spectra:
    """The spectra of all whole frames in `samples` (channels × samples)."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME, axis=1)[:, ::HOP]
    spectra = np.empty((*frames.shape[:2], BINS), np.complex64)
    for start in range(0, frames.shape[1], _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        spectra[:, part] = scipy.fft.rfft(frames[:, part] * _WINDOW, axis=-1)
    return spectra


class Synthesis:
    """Adds up the overlapping frames of one stream; what the next frames still touch is held back."""

    def __init__(self, channels: int) -> None:
        self._held: Floats = np.zeros((channels, FRAME - HOP), np.float32)

    def add(self, spectra: Spectra, mask: Floats) -> Floats:
        """The samples completed by these frames, `HOP` for each (channels × samples).

        `mask` (frames × bins) is the part of every bin that is kept.
        """
        channels, count = spectra.shape[:2]
        sound = np.zeros((channels, count + OVERLAP - 1, HOP), np.float32)
        sound.reshape(channels, -1)[:, : FRAME - HOP] = self._held
        for start in range(0, count, _AT_ONCE):
            part = slice(start, min(start + _AT_ONCE, count))
            frames = scipy.fft.irfft(spectra[:, part] * mask[part], FRAME, axis=-1) * (_WINDOW / _WINDOW_GAIN)
            pieces = frames.reshape(channels, -1, OVERLAP, HOP)
            for shift in range(OVERLAP):
                sound[:, part.start + shift : part.stop + shift] += pieces[:, :, shift]
        samples = sound.reshape(channels, -1)
        self._held = samples[:, count * HOP :].copy()
        return samples[:, : count * HOP]
