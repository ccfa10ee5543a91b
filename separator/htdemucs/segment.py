"""A segment of a song in the two forms that HTDemucs takes: samples and spectra.

The exported network leaves the Fourier transforms to its caller. Their windows and scales are those of
Rouard, Massa and Défossez, "Hybrid Transformers for Music Source Separation" (ICASSP 2023).
"""

import numpy as np

from separator.audio.samples import Floats
from separator.audio.spectrum import BINS, FRAME, HOP, OVERLAP, Spectra, Synthesis, analyse

SEGMENT = 343_980
"""Samples that the network takes at once, 7.8 seconds."""
SOURCES = ("drums", "bass", "other", "vocals")
"""What the network returns, in this order."""

_FRAMES = -(-SEGMENT // HOP)
_LEAD = (FRAME - HOP) // 2  # reflected samples before a segment
_END = (_FRAMES + OVERLAP - 1) * HOP - _LEAD - SEGMENT  # reflected samples after a segment
_SCALE = np.float32(FRAME**0.5)  # scales the transform so that it keeps the power


def analyse_segment(samples: Floats) -> Spectra:
    """Return the spectra of a segment, channels × frames × bins, as in the network's training."""
    return analyse(np.pad(samples, ((0, 0), (_LEAD, _END)), mode="reflect")) / _SCALE


def synthesise_segment(spectra: Spectra) -> Floats:
    """Return the samples, … × `SEGMENT`, of spectra of the shape … × frames × bins."""
    channels = spectra.reshape(-1, *spectra.shape[-2:])
    # three frames more, since the synthesis holds back what later frames still change
    padded = np.pad(channels, ((0, 0), (0, OVERLAP - 1), (0, 0)))
    scale = np.broadcast_to(_SCALE, padded.shape[-2:])
    samples = Synthesis(len(channels)).add(padded, scale)[:, _LEAD : _LEAD + SEGMENT]
    return samples.reshape(*spectra.shape[:-2], SEGMENT)


def to_planes(spectra: Spectra) -> Floats:
    """Return spectra (channels × frames × bins) as real and imaginary planes (planes × bins × frames)."""
    shifted = spectra[..., :-1].swapaxes(-1, -2)
    return np.stack([shifted.real, shifted.imag], axis=1).reshape(-1, *shifted.shape[-2:])


def from_planes(planes: Floats) -> Spectra:
    """Return the spectra, sources × channels × frames × bins, of sources × planes × bins × frames."""
    parts = planes.reshape(len(planes), -1, 2, *planes.shape[-2:]).swapaxes(-1, -2)
    spectra = np.zeros((*parts.shape[:2], parts.shape[-2], BINS), np.complex64)
    spectra[..., :-1].real = parts[:, :, 0]
    spectra[..., :-1].imag = parts[:, :, 1]
    return spectra
