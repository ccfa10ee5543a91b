"""Stretching, by the package and by FFmpeg: exact lengths, beats in time, and joins that are not heard."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.audio import tempo_filter

try:
    from worker.audio import stretch
except ImportError:
    ENGINES = [tempo_filter.stretch]
else:
    ENGINES = [stretch.stretch, tempo_filter.stretch]
RATE = 44_100
Samples = NDArray[np.float32]
Engine = Callable[[Iterator[Samples], int, int], Iterator[Samples]]

pytestmark = pytest.mark.usefixtures("short_segments")
each_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.__module__)


def stretched(engine: Engine, samples: Samples, speed: int, semitones: int = 0, block: int = RATE) -> Samples:
    def blocks() -> Iterator[Samples]:
        return (samples[:, at : at + block] for at in range(0, samples.shape[1], block))

    return np.concatenate([np.zeros((2, 0), np.float32), *engine(blocks(), speed, semitones)], axis=1)


@each_engine
@pytest.mark.parametrize("hertz", [110.1, 440.1])
def test_a_tone_keeps_its_level_between_segments(engine: Engine, hertz: float) -> None:
    """A plain cross-fade lets a tone nearly vanish for a moment."""
    tone = (0.3 * np.sin(2 * np.pi * hertz * np.arange(8 * RATE // 5) / RATE)).astype(np.float32)
    result = stretched(engine, np.stack((tone, -tone)), 80)
    assert np.allclose(result[0], -result[1], atol=1e-3)
    levels = np.abs(result[0, RATE // 5 : -RATE // 5].reshape(-1, RATE // 50)).max(axis=1)
    assert levels.max() / levels.min() < 1.03


@each_engine
@pytest.mark.parametrize(
    ("samples", "speed"),
    [(0, 50), (1, 50), (1000, 50), (RATE, 50), (3 * RATE // 2 + 77, 73), (3 * RATE // 2, 125)],
)
def test_the_length_is_exact(engine: Engine, samples: int, speed: int) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (2, samples)).astype(np.float32)
    result = stretched(engine, noise, speed, -3)
    assert result.shape[1] == pytest.approx(samples * 100 / speed, abs=1)
    assert np.array_equal(result, stretched(engine, noise, speed, -3, block=30_000))


@each_engine
@pytest.mark.parametrize(("speed", "semitones"), [(80, 0), (125, 0), (50, 6), (100, -3)])
def test_beats_stay_in_time_and_tones_move(engine: Engine, speed: int, semitones: int) -> None:
    since_beat = (np.arange(8 * RATE // 5) / RATE - 0.3) % 0.5
    knocks = (0.5 * np.exp(-since_beat / 0.01) * np.sin(2 * np.pi * 1500 * since_beat)).astype(np.float32)
    result = stretched(engine, np.stack((knocks, knocks)), speed, semitones)[0]
    loud = np.nonzero(np.abs(result) > np.abs(result).max() / 3)[0]
    beats = loud[np.diff(loud, prepend=-RATE) > RATE / 10] / RATE
    within_s = 0.03 if engine is tempo_filter.stretch else 0.003
    assert beats == pytest.approx((0.3 + 0.5 * np.arange(3)) * 100 / speed, abs=within_s)
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE // 5) / RATE)).astype(np.float32)
    result = stretched(engine, np.stack((tone, tone)), speed, semitones)[0]
    spectrum = np.abs(np.fft.rfft(result * np.hanning(result.size), 8 * RATE))
    assert spectrum.argmax() / 8 == pytest.approx(440 * 2 ** (semitones / 12), rel=0.005)
