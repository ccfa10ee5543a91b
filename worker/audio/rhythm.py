"""Finds a song's tempo and its beats from onsets, if the tempo is steady."""

from dataclasses import dataclass
from typing import cast

import numpy as np

from worker.audio.sound import FRAME_RATE, Values

# Shorter clips, and tempi outside, are not judged.
_MIN_S = 8
_TEMPI = (58.0, 205.0)
# A beat is divided into so many parts.
_PARTS = 48
# A group is two seconds, in which even a slow song has a beat. Onsets below the share `_FAINT` of the
# strongest one do not count, and the share `_MIN_HEARD` of all groups needs an onset that counts.
_GROUP, _FAINT, _MIN_HEARD = 2 * FRAME_RATE, 0.1, 0.5
# How far the strongest part must rise above the mean: noise reaches 1.5, a song 4 and more.
_MIN_CONTRAST = 2.5
# The share of a song that must keep the beat; a song whose tempo drifts by 2 % has 0.75.
_MIN_STEADY = 0.85
# Bounds the memory for long songs, at 16 MB.
_MAX_SPECTRUM = 1 << 20
# A tempo is doubled if the double tempo is at least `_ALIKE` times as regular, and kept if the double is at
# most `_DIFFERENT` times as regular. Between the two limits the tempo cannot be told.
_DIFFERENT, _ALIKE = 0.85, 0.95


@dataclass(frozen=True, slots=True)
class Beats:
    """Beats are `60 / bpm` seconds apart, and one is at `at_s`."""

    bpm: float
    at_s: float


def find_beats(onsets: Values) -> Beats | None:
    """Return the beats of these onset strengths, 100 per second; `None` if they keep no steady tempo."""
    if onsets.size < _MIN_S * FRAME_RATE:
        return None
    onsets = _sharpen(onsets)
    if not _is_heard_throughout(onsets) or not (guess := _guess(onsets)):
        return None
    beats_per_s = _refine(onsets, guess)
    beats = np.arange(onsets.size) / FRAME_RATE * beats_per_s
    profile = _profile(beats, onsets)
    if profile.max() < _MIN_CONTRAST * profile.mean() or _steadiness(beats, onsets, profile) < _MIN_STEADY:
        return None
    # the mean of the parts around the strongest one is more exact than that part
    near = profile.argmax() + np.arange(-3, 4)
    part = np.average(near, weights=profile[near % _PARTS]) + 0.5
    return Beats(60 * beats_per_s, float(part / _PARTS % 1 / beats_per_s))


def _sharpen(onsets: Values) -> Values:
    """Return how far onsets rise above the mean of the second around them, at most their 99th percentile."""
    around = np.convolve(onsets, np.ones(FRAME_RATE) / FRAME_RATE, "same")[: onsets.size]
    above = np.maximum(onsets - around, 0)
    return cast(Values, np.minimum(above, np.percentile(above[above > 0], 99)) if above.any() else above)


def _is_heard_throughout(onsets: Values) -> bool:
    """Return whether most of the song has onsets: a few sounds alone may fit any tempo."""
    groups = onsets[: onsets.size // _GROUP * _GROUP].reshape(-1, _GROUP).max(axis=1)
    return bool(onsets.any() and (groups > _FAINT * onsets.max()).mean() > _MIN_HEARD)


def _guess(onsets: Values) -> float:
    """Return the likeliest number of beats per second; 0 if it could as well be the double number."""
    # enough for eight beats of the slowest tempo, but no lag that leaves little to compare
    lags = min(int(onsets.size * 0.75), 10 * FRAME_RATE)
    spectrum = np.fft.rfft(onsets - onsets.mean(), 1 << (onsets.size + lags).bit_length())
    likeness = np.fft.irfft(np.abs(spectrum) ** 2)[:lags] / np.arange(onsets.size, onsets.size - lags, -1)
    likeness = np.convolve(likeness / likeness[0], [0.25, 0.5, 0.25], "same")

    def regularity(tempi: Values) -> Values:
        """Return, for each tempo, how similar the onsets are to those one to eight beats later."""
        later = 60 / tempi[:, np.newaxis] * FRAME_RATE * np.arange(1, 9)
        alike = np.interp(later, np.arange(lags), likeness)
        return cast(Values, alike.mean(axis=1, where=later < lags - 1))

    tempi = np.geomspace(*_TEMPI, 300)
    # most songs are near 115 BPM
    usual = np.exp(-0.5 * (np.log2(tempi / 115) / 0.9) ** 2)
    slow = float(tempi[np.argmax(regularity(tempi) * usual)])
    if slow / 2 >= _TEMPI[0]:
        slow /= 2
    elif slow * 2 > _TEMPI[1]:
        return slow / 60
    slower, faster = (regularity(slow * n * np.linspace(0.99, 1.01, 9)).max() for n in (1, 2))
    if _DIFFERENT * slower < faster < _ALIKE * slower:
        return 0
    return slow * (2 if faster >= _ALIKE * slower else 1) / 60


def _refine(onsets: Values, guess: float) -> float:
    """Return the beats per second near `guess` that are strongest in the whole song, with harmonics."""
    size = min(1 << (8 * onsets.size).bit_length(), _MAX_SPECTRUM)
    spectrum = np.abs(np.fft.rfft(onsets - onsets.mean(), size))
    step = FRAME_RATE / size
    tried = np.arange(int(guess * 0.97 / step), int(guess * 1.03 / step) + 1)
    strength = spectrum[tried] + spectrum[2 * tried] + spectrum[4 * tried]
    at = min(max(int(strength.argmax()), 1), tried.size - 2)
    before, peak, after = strength[at - 1 : at + 2]
    # the top of the parabola through the three is exact to a hundredth of a beat over a whole song
    return float((tried[at] + 0.5 * (before - after) / (before - 2 * peak + after)) * step)


def _profile(beats: Values, onsets: Values) -> Values:
    """Return the smoothed strength of the onsets in each part of a beat; `beats` are their times in beats."""
    profile = np.bincount((beats * _PARTS).astype(int) % _PARTS, onsets, _PARTS)
    wide = zip((-2, -1, 0, 1, 2), (0.125, 0.25, 0.25, 0.25, 0.125), strict=True)
    return cast(Values, sum(weight * np.roll(profile, step) for step, weight in wide))


def _steadiness(beats: Values, onsets: Values, profile: Values) -> float:
    """Return the share of onsets in those groups of eight beats whose profile is in line with the song's."""
    group, whole = (beats / 8).astype(int), np.fft.rfft(profile - profile.mean())
    steady = total = 0.0
    for number in range(group[-1] + 1):
        own = _profile(beats[group == number], onsets[group == number])
        alike = np.fft.irfft(np.fft.rfft(own - own.mean()) * whole.conj(), _PARTS)
        shift = int(alike.argmax())
        total += own.sum()
        if min(shift, _PARTS - shift) < _PARTS / 10:
            steady += own.sum()
    return steady / total
