"""How well the light engine separates, measured against the true stems of the demo song."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from separator.audio.formats import FileFormat
from separator.audio.reader import Reader
from separator.engine import REST, Order
from separator.engines import load
from separator.light.engine import stem_pieces

Floats = npt.NDArray[np.float32]
Stems = dict[str, Floats]


def _separate(song: Path, only: str | None) -> Stems:
    with Reader(song, max_duration_s=600) as reader:
        pieces = list(stem_pieces(reader.blocks(), only))
    return {stem: np.concatenate([piece[stem] for piece in pieces], axis=1) for stem in pieces[0]}


@pytest.fixture(scope="module")
def stems(demo_song: Path) -> Stems:
    return _separate(demo_song, None)


@pytest.fixture(scope="module")
def truth(media: Path, decode: Callable[[Path], Floats]) -> Stems:
    return {stem: decode(media / f"demo-song.{stem}.flac") for stem in ("vocals", "drums", "bass", "other")}


def _sdr_db(true: Floats, estimate: Floats) -> float:
    """Signal-to-distortion ratio over the whole stereo signal, in dB."""
    error = true.astype(np.float64) - estimate
    return float(10 * np.log10(np.sum(true.astype(np.float64) ** 2) / np.sum(error**2)))


@pytest.mark.parametrize(
    ("stem", "least_db"), [("vocals", 6.0), ("drums", 7.5), ("bass", 5.0), ("other", 5.0)]
)
def test_each_stem_resembles_the_true_one(stems: Stems, truth: Stems, stem: str, least_db: float) -> None:
    assert _sdr_db(truth[stem], stems[stem]) >= least_db


def test_the_instrumental_resembles_the_true_one(demo_song: Path, truth: Stems) -> None:
    instrumental = _separate(demo_song, "vocals")[REST]
    assert _sdr_db(truth["drums"] + truth["bass"] + truth["other"], instrumental) >= 12.0


@pytest.mark.parametrize(("only", "stem", "least_db"), [("vocals", "vocals", 6.0), ("vocals", REST, 12.0)])
def test_what_is_delivered_is_as_good(
    demo_song: Path,
    tmp_path: Path,
    truth: Stems,
    decode: Callable[[Path], Floats],
    only: str,
    stem: str,
    least_db: float,
) -> None:
    """The MP3 files, decoded: coding must not eat what the engine has won."""
    order = Order(demo_song, tmp_path, only, FileFormat.MP3, 600)
    delivered = decode(load("light").separate(order).files[stem])
    true = truth["vocals"] if stem == only else truth["drums"] + truth["bass"] + truth["other"]
    assert _sdr_db(true, delivered) >= least_db


def test_the_stems_add_up_to_the_mix(stems: Stems, demo_song: Path, decode: Callable[[Path], Floats]) -> None:
    mix = decode(demo_song)
    assert np.abs(sum(stems.values()) - mix).max() <= 1e-5


def test_all_masks_add_up_without_the_remainder_trick(demo_song: Path) -> None:
    """The last stem is computed as a remainder; separated in its own right it is the same."""
    from separator.light.stream import separate

    with Reader(demo_song, max_duration_s=600) as reader:
        error = max(
            float(np.abs(sum(stems.values()) - mix).max())
            for mix, stems in separate(reader.blocks(), ("vocals", "drums", "bass", "other"))
        )
    assert error <= 1e-5


def test_where_blocks_begin_is_not_heard(demo_song: Path, stems: Stems) -> None:
    """The same song, fed in pieces of odd sizes, gives the same stems."""
    with Reader(demo_song, max_duration_s=600) as reader:
        mix = np.concatenate(list(reader.blocks()), axis=1)
    cuts = np.split(mix, [1, 777, 50_000, 441_000, 700_001], axis=1)
    pieces = list(stem_pieces(cuts, "drums"))
    drums = np.concatenate([piece["drums"] for piece in pieces], axis=1)
    assert np.abs(drums - stems["drums"]).max() < 1e-6
