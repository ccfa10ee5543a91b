"""Sounds of instruments and of a singing voice, computed with numpy, for `tools.compose_songs`."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float64]  # one channel
Stereo = npt.NDArray[np.float64]  # 2 × samples

RATE = 44_100
_TABLE = 2048
_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
# The first four formants of a female voice in Hz, and their gains; from the tables of the Csound manual.
_VOWELS = {
    "m": ((250, 1100, 2300, 3200), (1, 0.06, 0.03, 0.01)),
    "u": ((325, 700, 2700, 3800), (1, 0.16, 0.02, 0.01)),
    "o": ((450, 800, 2830, 3800), (1, 0.28, 0.08, 0.05)),
    "a": ((800, 1150, 2900, 3900), (1, 0.5, 0.1, 0.08)),
    "e": ((350, 2000, 2800, 3600), (1, 0.25, 0.18, 0.05)),
}


def midi_note(name: str) -> int:
    """Return the MIDI number of a note such as Bb4."""
    shift = name.count("#") - name.count("b")
    return 12 * (int(name[-1]) + 1) + _SEMITONES[name[0]] + shift


def chord_notes(name: str) -> list[int]:
    """Return the MIDI numbers of a chord such as Dm or C7, the root first, in the octave from C3."""
    length = 2 if name[1:2] in ("b", "#") else 1
    root = midi_note(name[:length] + "3")
    third = 3 if name[length:].startswith("m") else 4
    return [root, root + third, root + 7, *([root + 10] if name.endswith("7") else [])]


def hz(note: float) -> float:
    return float(440 * 2 ** ((note - 69) / 12))


def times(length_s: float) -> Sound:
    """Return the time of each sample in seconds."""
    return np.arange(round(length_s * RATE)) / RATE


def place(stem: Stereo, sound: Sound, at_s: float, gain: float, pan: float = 0.0) -> None:
    """Add a sound to a stem at `at_s` seconds; `pan` goes from -1 (left) to 1 (right) at constant power."""
    start = int(at_s * RATE)
    part = sound[: max(0, stem.shape[1] - start)] * gain
    angle = (pan + 1) * np.pi / 4
    stem[0, start : start + part.size] += part * np.cos(angle) * np.sqrt(2)
    stem[1, start : start + part.size] += part * np.sin(angle) * np.sqrt(2)


def oscillate(frequency: Sound, amplitudes: Sequence[float] | Sound, start: float = 0.0) -> Sound:
    """Return a sound with harmonics of these amplitudes; `frequency` is that of the first, in Hz per sample.

    `start` is the phase at which the sound starts, in periods.
    """
    spectrum = np.zeros(_TABLE // 2 + 1, complex)
    spectrum[1 : len(amplitudes) + 1] = np.asarray(amplitudes) * -0.5j * _TABLE
    table = np.fft.irfft(spectrum, _TABLE)
    phase = (np.cumsum(frequency) / RATE + start) % 1 * _TABLE
    return cast(Sound, np.interp(phase, np.arange(_TABLE + 1), np.append(table, table[0])))


def saw(note: float, length_s: float, highest_hz: float, start: float = 0.0) -> Sound:
    """Return a sawtooth whose harmonics fade towards `highest_hz`."""
    harmonics = np.arange(1, max(2, int(highest_hz / hz(note))))
    amplitudes = (1 - harmonics * hz(note) / (highest_hz + hz(note))) / harmonics
    return oscillate(np.full(round(length_s * RATE), hz(note)), amplitudes, start)


def fade(length_s: float, attack_s: float, release_s: float) -> Sound:
    """Return an envelope that rises, holds and falls by cosines."""
    time = times(length_s)
    rise, fall = np.clip(time / attack_s, 0, 1), np.clip((length_s - time) / release_s, 0, 1)
    return cast(Sound, (1 - np.cos(np.pi * rise)) * (1 - np.cos(np.pi * fall)) / 4)


def noise(length_s: float, seed: int, low_hz: float, high_hz: float) -> Sound:
    """Return noise between two frequencies, with soft edges."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(round(length_s * RATE)))
    frequency = np.fft.rfftfreq(round(length_s * RATE), 1 / RATE)
    spectrum *= 1 / (1 + (low_hz / np.maximum(frequency, 1)) ** 4) / (1 + (frequency / high_hz) ** 4)
    sound = np.fft.irfft(spectrum, round(length_s * RATE))
    return cast(Sound, sound / np.sqrt(np.mean(sound**2)))


def reverb(stem: Stereo, length_s: float, share: float) -> Stereo:
    """Return the stem with reverberation that decays by 60 dB in `length_s`, different on both sides."""
    decay = 10 ** (-3 * times(length_s) / length_s)
    size = stem.shape[1] + decay.size
    room = np.stack([noise(length_s, seed, 200, 6000) * decay for seed in (1, 2)])
    room /= np.sqrt(np.sum(room**2, axis=1, keepdims=True))
    wet = np.fft.irfft(np.fft.rfft(stem, size) * np.fft.rfft(room, size), size)
    return stem + share * wet[:, : stem.shape[1]]


def formants(note: int, vowel: str) -> Sound:
    """Return the amplitudes of a sung note's harmonics; their power is the same for every vowel."""
    frequency = np.arange(1, int(9000 / hz(note))) * hz(note)
    gain = np.full(frequency.size, 0.02)
    for centre, height in zip(*_VOWELS[vowel], strict=True):
        gain += height / (1 + ((frequency - centre) / (60 + 0.06 * centre)) ** 2)
    amplitudes = gain / (frequency / frequency[0]) ** 0.7
    return cast(Sound, amplitudes / np.sqrt(np.sum(amplitudes**2)))


def kick(high_hz: float, low_hz: float, length_s: float) -> Sound:
    time = times(length_s)
    sweep = low_hz + (high_hz - low_hz) * np.exp(-time / 0.025)
    click = noise(length_s, 3, 1000, 6000) * np.exp(-time / 0.004) * 0.15
    return oscillate(sweep, [1]) * np.exp(-time / (length_s / 5)) * fade(length_s, 0.002, 0.05) + click


def snare(length_s: float, seed: int) -> Sound:
    time = times(length_s)
    body = oscillate(190 + 90 * np.exp(-time / 0.02), [1, 0.4]) * np.exp(-time / 0.06)
    return 0.6 * body + 0.45 * noise(length_s, seed, 900, 9000) * np.exp(-time / 0.07)


def hat(length_s: float, seed: int) -> Sound:
    return noise(length_s, seed, 7000, 15000) * np.exp(-times(length_s) / (length_s / 4)) * 0.4


def pluck(note: float, length_s: float, highest_hz: float) -> Sound:
    """Return the sound of a plucked string, whose higher harmonics fade sooner."""
    time = times(length_s)
    soft = saw(note, length_s, highest_hz / 4) * np.exp(-time / 0.6)
    bright = saw(note, length_s, highest_hz) * np.exp(-time / 0.08)
    return (soft + bright) * fade(length_s, 0.004, 0.1)


def pad(stem: Stereo, chord: list[int], at_s: float, length_s: float, highest_hz: float, gain: float) -> None:
    """Add a chord of detuned strings an octave higher, spread from left to right."""
    envelope = fade(length_s + 0.7, 0.35, 0.7)
    for voice, note in enumerate(chord):
        for side, detune in ((-0.9, -0.07), (-0.4, 0.05), (0.4, -0.04), (0.9, 0.08)):
            start = (voice * 0.37 + side * 0.21) % 1
            sound = saw(note + 12 + detune, length_s + 0.7, highest_hz, start) * envelope
            place(stem, sound, at_s, gain, side)


def growl(note: int, length_s: float, seed: int) -> Sound:
    """Return a bass of detuned sawtooths over a sine, which becomes brighter and darker again."""
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * times(length_s) / max(length_s, 0.2))
    dark, bright = (
        sum(saw(note + detune, length_s, top, seed * 0.13 + detune) for detune in (-0.12, 0.1))
        for top in (350, 1400)
    )
    sub = oscillate(np.full(swing.size, hz(note)), [1.2])
    return (sub + dark * (1 - swing) * 0.8 + bright * swing * 0.7) * fade(length_s, 0.006, 0.03)
