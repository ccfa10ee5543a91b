"""Measures one stem, or parts of it, while it is decoded: peaks, loudness, onsets and pitches.

The measures of an hour take 3 MB. Sound is measured at 24 kHz: what is above 12 kHz adds less than 0.1 dB.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.peaks import FLOOR_DB, PEAKS, encode_peaks
from stemdrop.services.audio_decoding import decode
from worker.audio.blocks import repair
from worker.audio.formats import MAX_AUDIO_S, is_mono, open_audio
from worker.audio.song_sample import ENERGIES, LEVELS, ONSETS, PITCHES, Part
from worker.cancellable_thread import raise_if_cancelled

Values = npt.NDArray[Any]

METER_RATE = 24_000
_BLOCK = 2 * METER_RATE
# So many samples of a file are resampled together.
_MANY = 1 << 13
# FFmpeg's mono is the sum of the channels, 3 dB weaker; this factor makes it their mean.
_MEAN_OF_MIX = np.float32(0.5**0.5)
# Levels and onsets per second.
FRAME_RATE = 100
_FRAME = METER_RATE // FRAME_RATE
# ITU-R BS.1770-5 measures blocks of 400 ms that overlap by 75 %: four of these frames.
_LOUDNESS_FRAME = METER_RATE // 10
# Semitones are 6 % apart, so that bins of 2.5 Hz separate them from 50 Hz on.
_PITCH_RATE = METER_RATE // 2
_PITCH_FRAME = _PITCH_RATE * 2 // 5
_PITCHES_HZ = (55, 1800)
# Pitches are counted in tenths of a semitone, to find how the song is tuned.
PITCH_STEPS = 120
# The bands of the onsets begin at these bins, which are 50 Hz wide.
_BANDS = np.array([1, 2, 4, 6, 12, 24, 48, 96])


# After a seek in an MP3, the first frames are incomplete, because they need the frames before them.
_INCOMPLETE = 3
_ALL = frozenset({LEVELS, ENERGIES, ONSETS, PITCHES})
# These measures need each channel; the others are taken of the channels' mean.
_OF_CHANNELS = frozenset({LEVELS, ENERGIES})


@dataclass(frozen=True, slots=True)
class Sound:
    """The measures of one stem; those that were not taken are empty.

    `peaks`: see `stemdrop.domain.peaks`; `energies`: K-weighted, 10 per second; `onsets`: 100 per second;
    `pitches`: blocks of at most two seconds × strengths of the tenths of a semitone, from C on.
    """

    duration_s: float
    peaks: str
    energies: Values
    onsets: Values
    pitches: Values


def measure_sound(path: Path, audio_format: AudioFormat) -> Sound | None:
    """Decode and measure a file; `None` if it cannot be decoded or is longer than any song. Blocking."""
    meter, decoded = _Meter(), 0
    try:
        with open_audio(path, audio_format) as container:
            samples = _Samples(container, is_mixed=False)
            for frame in chain(decode(container), [None]):
                raise_if_cancelled()
                samples.add(frame)
                while (block := samples.take(_BLOCK, partial=frame is None)) is not None:
                    meter.add(block, _ALL)
                    decoded += block.shape[1]
                if decoded > MAX_AUDIO_S * METER_RATE:
                    return None
    except (av.error.FFmpegError, ValueError, IndexError):
        return None
    return meter.sound(decoded / METER_RATE) if decoded else None


def measure_parts(
    path: Path, audio_format: AudioFormat, duration_s: float, parts: Sequence[Part]
) -> Sound | None:
    """Decode and measure parts of a file that is `duration_s` long; `None` if that fails. Blocking."""
    meter = _Meter()
    try:
        with open_audio(path, audio_format) as container:
            channels, mixed = (_Samples(container, is_mixed=is_mixed) for is_mixed in (False, True))
            for part in parts:
                samples = channels if part.measures & _OF_CHANNELS else mixed
                container.seek(round(part.start_s * av.time_base))
                left, decoded_s = round(part.length_s * METER_RATE), 0.0
                for frame in islice(decode(container), _INCOMPLETE, None):
                    raise_if_cancelled()
                    samples.add(frame)
                    decoded_s += frame.samples / frame.sample_rate
                    if decoded_s > part.length_s:
                        break
                    if left > _BLOCK and (block := samples.take(_BLOCK, partial=False)) is not None:
                        meter.add(block, part.measures)
                        left -= _BLOCK
                samples.resample()
                while left and (block := samples.take(min(left, _BLOCK), partial=True)) is not None:
                    meter.add(block, part.measures)
                    left -= block.shape[1]
                samples.drop()
    except (av.error.FFmpegError, ValueError, IndexError):
        return None
    return meter.sound(duration_s)


class _Samples:
    """A queue of samples at `METER_RATE`: channels × samples, or their mean, 1 × samples, if `is_mixed`.

    Many frames are resampled at once, because that is quicker.
    """

    def __init__(self, container: InputContainer, *, is_mixed: bool) -> None:
        has_one = is_mono(container)
        self._scale = _MEAN_OF_MIX if is_mixed and not has_one else 1
        self._resampler = av.AudioResampler("fltp", "mono" if is_mixed or has_one else "stereo", METER_RATE)
        self._decoded, self._resampled = av.AudioFifo(), av.AudioFifo()

    def add(self, frame: av.AudioFrame | None) -> None:
        """Add the next frame; `None` at the end."""
        if frame:
            frame.pts = None  # FFmpeg's queues refuse gaps in timestamps, although the sound has no gap
            self._decoded.write(frame)
            if self._decoded.samples >= _MANY:
                self.resample()
        else:
            self.resample()
            self._write(None)

    def resample(self) -> None:
        """Resample what was added, so that it can be taken, but for some samples in the resampler."""
        if decoded := self._decoded.read(partial=True):
            self._write(decoded)

    def take(self, size: int, *, partial: bool) -> Values | None:
        """Take `size` samples; with `partial` also fewer. `None` if there are too few, or none."""
        block = self._resampled.read(size, partial=partial)
        return repair(block.to_ndarray()) * self._scale if block else None

    def drop(self) -> None:
        """Drop the samples that were not taken."""
        self._resampled.read(partial=True)

    def _write(self, frame: av.AudioFrame | None) -> None:
        for part in self._resampler.resample(frame):
            part.pts = None
            self._resampled.write(part)


@dataclass
class _Meter:
    _levels: list[Values] = field(default_factory=list)
    _energies: list[Values] = field(default_factory=list)
    _onsets: list[Values] = field(default_factory=list)
    _pitches: list[Values] = field(default_factory=list)
    _last_frame: Values = field(default_factory=lambda: np.zeros(_FRAME, np.float32))
    _last_bands: Values = field(default_factory=lambda: np.zeros(len(_BANDS), np.float32))

    def add(self, samples: Values, measures: frozenset[str]) -> None:
        """Measure the next block: channels × samples. Only the last block of a part may be short."""
        if lacking := -samples.shape[1] % _LOUDNESS_FRAME:
            samples = np.pad(samples, ((0, 0), (0, lacking)))
        mono = samples.mean(axis=0, dtype=np.float32)
        if LEVELS in measures:
            self._levels.append(np.abs(samples).max(axis=0).reshape(-1, _FRAME).max(axis=1))
        # one second at a time fits into the processor's cache
        for at in range(0, mono.size, METER_RATE):
            if ENERGIES in measures:
                self._energies.append(_k_weighted(samples[:, at : at + METER_RATE]))
            if ONSETS in measures:
                self._onsets.append(self._rises(mono[at : at + METER_RATE]))
        if PITCHES in measures:
            self._pitches.append(_pitches(mono))

    def sound(self, duration_s: float) -> Sound:
        nothing = [np.zeros(0, np.float32)]
        levels = np.concatenate(self._levels or nothing)[: -(-round(duration_s * METER_RATE) // _FRAME)]
        return Sound(
            duration_s,
            _encode(levels) if levels.size else "",
            np.concatenate(self._energies or nothing),
            np.concatenate(self._onsets or nothing),
            np.array(self._pitches).reshape(-1, PITCH_STEPS),
        )

    def _rises(self, mono: Values) -> Values:
        """Return, for each frame, the sum of the rises in loudness of all bands since the frame before."""
        frames = np.concatenate((self._last_frame, mono)).reshape(-1, _FRAME)
        spectrum = np.abs(np.fft.rfft(np.hstack((frames[:-1], frames[1:])) * _ONSET_WINDOW)) ** 2
        bands = np.log1p(100 * np.sqrt(np.add.reduceat(spectrum, _BANDS, axis=1)) / _FRAME)
        rises = np.diff(bands, axis=0, prepend=self._last_bands[np.newaxis])
        self._last_frame, self._last_bands = frames[-1].copy(), bands[-1].copy()
        return cast(Values, np.maximum(rises, 0).sum(axis=1).astype(np.float32))


_ONSET_WINDOW = np.hanning(2 * _FRAME).astype(np.float32)
_PITCH_WINDOW = np.hanning(_PITCH_FRAME).astype(np.float32)


def _encode(levels: Values) -> str:
    """Return the encoded peaks (`stemdrop.domain.peaks`)."""
    parts = np.maximum.reduceat(levels, np.arange(PEAKS) * levels.size // PEAKS)
    decibels = FLOOR_DB + 20 * np.log10(np.maximum(parts, 1e-9))
    return encode_peaks(np.clip(np.rint(decibels), 0, FLOOR_DB).astype(np.uint8).tobytes())


def _k_weighted(samples: Values) -> Values:
    """Return the energy of each 100 ms, of all channels together, weighted as in ITU-R BS.1770-5."""
    frames = samples.reshape(samples.shape[0], -1, _LOUDNESS_FRAME)
    power = np.abs(np.fft.rfft(frames)) ** 2 * _K_WEIGHTS
    return cast(Values, (power.sum(axis=(0, 2)) / _LOUDNESS_FRAME**2).astype(np.float32))


def _k_weights() -> Values:
    """Return the power response of BS.1770-5's two filters, which it defines at 48 kHz, for each bin."""
    delay = np.exp(-2j * np.pi * np.fft.rfftfreq(_LOUDNESS_FRAME, 1 / METER_RATE) / 48_000)
    shelf = (1.53512485958697 - 2.69169618940638 * delay + 1.19839281085285 * delay**2) / (
        1 - 1.69065929318241 * delay + 0.73248077421585 * delay**2
    )
    high_pass = (1 - delay) ** 2 / (1 - 1.99004745483398 * delay + 0.99007225036621 * delay**2)
    # twice, because each bin also stands for its negative frequency
    return cast(Values, (2 * np.abs(shelf * high_pass) ** 2).astype(np.float32))


_K_WEIGHTS = _k_weights()


def _pitches(mono: Values) -> Values:
    """Return the strength of each tenth of a semitone, from C on, by the peaks of the block's spectra."""
    if mono.size < 2 * _PITCH_FRAME:
        return np.zeros(PITCH_STEPS, np.float32)
    # aliases of what is above 10 kHz are weak
    mono = (mono[::2] + mono[1::2]) / 2
    frames = np.lib.stride_tricks.sliding_window_view(mono, _PITCH_FRAME)[:: _PITCH_FRAME // 2]
    spectrum = np.abs(np.fft.rfft(frames * _PITCH_WINDOW))
    low, high = (round(hertz * _PITCH_FRAME / _PITCH_RATE) for hertz in _PITCHES_HZ)
    left, middle, right = (spectrum[:, low + step : high + step] for step in (-1, 0, 1))
    # the peak of a tone is a quarter of the window's length times its amplitude: tones above -60 dBFS count
    at = np.nonzero((middle > left) & (middle > right) & (middle > _PITCH_FRAME / 4000))
    before, peak, after = left[at], middle[at], right[at]
    bins = at[1] + low + 0.5 * (before - after) / (before - 2 * peak + after)
    steps = np.rint(np.log2(bins * (_PITCH_RATE / _PITCH_FRAME / _MIDDLE_C_HZ)) * PITCH_STEPS).astype(int)
    return np.bincount(steps % PITCH_STEPS, np.sqrt(peak), PITCH_STEPS).astype(np.float32)


_MIDDLE_C_HZ = 261.6256
