"""The bundled songs that are computed: their stems, and the files that are committed."""

from functools import cache

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tools import compose_songs, synthesizer
from tools.compose_songs import SONGS, SONGS_FOLDER, STEM_NAMES, Song, compose, mix

# In which everything but the second song's voice plays.
_BARS = {"harbour-waltz": 2, "night-circuit": 3}
_RATE = 4410


@pytest.fixture(autouse=True)
def _a_tenth_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute the songs at a tenth of their rate, on which they do not depend."""
    for module in (synthesizer, compose_songs):
        monkeypatch.setattr(module, "RATE", _RATE)


@cache
def composed(song: Song) -> dict[str, NDArray[np.float64]]:
    return compose(song, _BARS[song.name])


@pytest.mark.parametrize("song", SONGS, ids=lambda song: song.name)
def test_four_stems_add_up_to_a_loud_mix_without_clipping(song: Song) -> None:
    stems = composed(song)
    whole = mix(stems)
    assert list(stems) == list(STEM_NAMES)
    assert np.abs(whole).max() < 0.9
    assert 20 * np.log10(np.sqrt(np.mean(whole**2))) == pytest.approx(-14, abs=1)
    assert [name for name, sound in stems.items() if not np.any(sound)] in ([], ["vocals"])
    # nothing plays in the last tenth of a second: the tail has faded
    assert np.abs(whole[:, -_RATE // 10 :]).max() < 0.05


@pytest.mark.parametrize("song", SONGS, ids=lambda song: song.name)
def test_a_song_is_the_same_each_time(song: Song) -> None:
    once, again = composed(song), compose(song, _BARS[song.name])
    assert all(np.array_equal(once[name], again[name]) for name in STEM_NAMES)


@pytest.mark.parametrize("song", SONGS, ids=lambda song: song.name)
def test_the_committed_file_is_that_song(song: Song) -> None:
    path = SONGS_FOLDER / f"{song.name}.mp3"
    beats = len(song.chords.split()) * song.beats_per_bar
    with av.open(str(path)) as file:
        assert file.duration is not None
        assert file.duration / av.time_base == pytest.approx(beats * song.beat_s + 2, abs=0.1)
        assert (file.metadata["title"], file.metadata["artist"]) == (song.title, song.performer)
    assert path.stat().st_size < 600_000
