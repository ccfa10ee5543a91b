"""The limiter: no sample above its ceiling, and no other change."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.audio.limiter import limit

RATE = 44_100
Samples = NDArray[np.float32]


def in_blocks(samples: Samples, size: int) -> Iterator[Samples]:
    return (samples[:, at : at + size] for at in range(0, samples.shape[1], size))


def limited(samples: Samples, ceiling: float = 0.8, block: int = RATE) -> Samples:
    return np.concatenate(list(limit(in_blocks(samples, block), ceiling)), axis=1)


def noise(level: float, samples: int = 2 * RATE + 77) -> Samples:
    return np.random.default_rng(1).uniform(-level, level, (2, samples)).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 63, 64, 5000, RATE, 2 * RATE + 77])
def test_what_is_below_the_ceiling_is_not_changed(samples: int) -> None:
    quiet = noise(0.8, samples)
    assert np.array_equal(limited(quiet), quiet)


@pytest.mark.parametrize("block", [100, 5000, RATE])
def test_nothing_is_above_the_ceiling_and_only_what_is_near_a_peak_is_changed(block: int) -> None:
    song = noise(0.5)
    song[0, [0, 30_000, -1]] = 2, -9, 4
    result = limited(song, 0.8, block)
    assert result.shape == song.shape
    assert np.abs(result).max() <= 0.8
    assert result[0, 30_000] == pytest.approx(-0.8)
    # both channels alike, and nothing 50 ms away
    assert result[1, 30_000] == pytest.approx(song[1, 30_000] * 0.8 / 9)
    unchanged = slice(RATE // 20, 30_000 - RATE // 20)
    assert np.abs(result - song)[:, unchanged].max() < 1e-6
    assert np.allclose(result, limited(song), atol=1e-6)


def test_a_bass_that_is_too_loud_stays_pure() -> None:
    bass = (2 * np.sin(2 * np.pi * 50 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    middle = limited(np.stack((bass, bass)))[0, RATE // 2 : RATE // 2 + RATE]
    spectrum = np.abs(np.fft.rfft(middle))
    assert spectrum.argmax() == 50
    assert np.delete(spectrum, 50).max() < spectrum[50] / 1000


def test_nothing_gives_nothing() -> None:
    assert list(limit(iter(()), 0.8)) == []
