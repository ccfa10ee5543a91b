"""Changes the tempo and the pitch of a song while it streams, with Signalsmith's stretch.

The library stretches a whole sound at once and holds Python's lock meanwhile, 20 ms for a second of sound, so
the song is stretched in short segments. Segments overlap, and each is blended into the next with aligned
phases: in a plain cross-fade, tones would beat or vanish for a moment. Around a blend, the result differs
from a song stretched at once no more than two such results differ if one of the songs begins elsewhere.
"""

from collections.abc import Iterator

import numpy as np
from python_stretch.Signalsmith import Stretch

from worker.audio.blocks import MIX_RATE, Block
from worker.cancellable_thread import raise_if_cancelled

# Lengths in the input. Each is rounded to a multiple of `speed` samples, so that it becomes a whole number of
# samples in the output.
_SEGMENT_S = 4.0
# Tones are bent by up to half a hertz during an overlap; with 0.3 s a bass was a quarter tone off.
_OVERLAP_S = 0.8
# The library needs sound around what it stretches: its own windows are 0.12 s long.
_MARGIN_S = 0.15
# Overtones above this frequency are shifted by as many hertz as those at it, so that voices stay natural.
_TONALITY_HZ = 8000
_WINDOW = 4096
_HOP = _WINDOW // 4


def stretch(blocks: Iterator[Block], speed: int, semitones: int) -> Iterator[Block]:
    """Yield the song at `speed` percent and `semitones` higher: exactly 100 / `speed` times its length."""
    tool = Stretch(0)
    tool.preset(2, MIX_RATE)
    tool.setTimeFactor(speed / 100)
    tool.setTransposeSemitones(semitones, _TONALITY_HZ / MIX_RATE)
    segment, overlap, margin = (
        round(seconds * MIX_RATE / speed) for seconds in (_SEGMENT_S, _OVERLAP_S, _MARGIN_S)
    )
    waiting, before, last = np.zeros((2, 0), np.float32), 0, np.zeros((2, 0), np.float32)
    for block in blocks:
        waiting = np.concatenate((waiting, block), axis=1)
        while waiting.shape[1] > (before + segment + overlap + margin) * speed:
            raise_if_cancelled()
            given = waiting[:, : (before + segment + overlap + margin) * speed]
            made = _process(tool, given)[:, before * 100 :]
            yield _blend(last, made[:, : segment * 100])
            last = made[:, segment * 100 : (segment + overlap) * 100]
            waiting = waiting[:, (before + segment - margin) * speed :]
            before = margin
    if waiting.shape[1] > before * speed:
        yield _blend(last, _process(tool, waiting)[:, before * 100 :])


def _process(tool: Stretch, samples: Block) -> Block:
    return np.asarray(tool.process(np.ascontiguousarray(samples)))


def _blend(last: Block, following: Block) -> Block:
    """Return `following` with a beginning that changes from `last` into `following`."""
    length = min(last.shape[1], following.shape[1])
    if not length:
        return following
    return np.concatenate((_morph(last[:, :length], following[:, :length]), following[:, length:]), axis=1)


def _morph(old: Block, new: Block) -> Block:
    """Return a sound that changes from `old` to `new`, which differ only in their phases."""
    length = old.shape[1]
    pad = ((0, 0), (_WINDOW, _WINDOW + -length % _HOP))
    old_spectra, new_spectra = (
        np.fft.rfft(
            np.lib.stride_tricks.sliding_window_view(np.pad(sound, pad), _WINDOW, 1)[:, ::_HOP] * _BELL
        )
        for sound in (old, new)
    )
    middles = np.arange(old_spectra.shape[1]) * _HOP - _WINDOW // 2
    # the outermost windows contain only one of the two sounds
    share = np.clip((middles - _HOP) / (length - 2 * _HOP), 0, 1)[:, np.newaxis]
    # the phase difference at each frequency, one value for both channels and the whole overlap
    apart = np.angle((new_spectra * old_spectra.conj()).sum(axis=(0, 1)))
    mixed = (1 - share) * old_spectra * np.exp(1j * share * apart) + share * new_spectra * np.exp(
        -1j * (1 - share) * apart
    )
    loudness = (1 - share) * np.abs(old_spectra) + share * np.abs(new_spectra)
    mixed *= loudness / np.maximum(np.abs(mixed), 1e-12)
    frames = np.fft.irfft(mixed) * _BELL
    sound = np.zeros((2, (frames.shape[1] + 3) * _HOP))
    for number in range(frames.shape[1]):
        sound[:, number * _HOP : number * _HOP + _WINDOW] += frames[:, number]
    return (sound[:, _WINDOW : _WINDOW + length] / 1.5).astype(np.float32)


_BELL = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
