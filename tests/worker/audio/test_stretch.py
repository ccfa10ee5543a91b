"""Stretching: exact lengths, and segments that are not heard."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.audio.stretch import stretch

RATE = 44_100
Samples = NDArray[np.float32]


def stretched(samples: Samples, speed: int, semitones: int = 0, block: int = RATE) -> Samples:
    def blocks() -> Iterator[Samples]:
        return (samples[:, at : at + block] for at in range(0, samples.shape[1], block))

    return np.concatenate([np.zeros((2, 0), np.float32), *stretch(blocks(), speed, semitones)], axis=1)


@pytest.mark.parametrize("hertz", [110, 440])
def test_a_tone_keeps_its_level_between_segments(hertz: float) -> None:
    """A plain cross-fade let this tone of 110 Hz vanish for a moment."""
    tone = (0.3 * np.sin(2 * np.pi * hertz * np.arange(4.5 * RATE) / RATE)).astype(np.float32)
    result = stretched(np.stack((tone, -tone)), 80)
    assert np.allclose(result[0], -result[1], atol=1e-3)
    levels = np.abs(result[0, RATE // 5 : 5 * RATE].reshape(-1, RATE // 50)).max(axis=1)
    assert levels.max() / levels.min() < 1.03


@pytest.mark.parametrize(
    ("samples", "speed"), [(0, 50), (1, 50), (1000, 50), (RATE, 50), (4 * RATE + 77, 73), (4 * RATE, 125)]
)
def test_the_length_is_exact(samples: int, speed: int) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (2, samples)).astype(np.float32)
    result = stretched(noise, speed, -3)
    assert result.shape[1] == pytest.approx(samples * 100 / speed, abs=1)
    assert np.array_equal(result, stretched(noise, speed, -3, block=30_000))
