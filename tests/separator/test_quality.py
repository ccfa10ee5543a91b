"""How well the light engine separates, measured against the true stems of the demo song."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from separator.audio.formats import FileFormat
from separator.audio.reader import Reader
from separator.engine import REST, Order, Separation
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


@pytest.fixture(scope="module")
def delivered(demo_song: Path, tmp_path_factory: pytest.TempPathFactory) -> Separation:
    order = Order(demo_song, tmp_path_factory.mktemp("delivered"), "vocals", FileFormat.MP3, 600)
    return load("light").separate(order)


@pytest.mark.parametrize(("stem", "least_db"), [("vocals", 6.0), (REST, 12.0)])
def test_one_stem_and_the_rest_resemble_the_true_ones(
    delivered: Separation, truth: Stems, decode: Callable[[Path], Floats], stem: str, least_db: float
) -> None:
    """As MP3, decoded: coding must not eat what the engine has won."""
    true = truth["vocals"] if stem == "vocals" else truth["drums"] + truth["bass"] + truth["other"]
    assert _sdr_db(true, decode(delivered.files[stem])) >= least_db


def test_the_stems_add_up_to_the_mix(stems: Stems, demo_song: Path, decode: Callable[[Path], Floats]) -> None:
    mix = decode(demo_song)
    assert np.abs(sum(stems.values()) - mix).max() <= 1e-5


def test_all_masks_add_up_without_the_remainder_trick(demo_song: Path) -> None:
    """The last stem is computed as a remainder; separated in its own right it is the same."""
    from separator.light.stream import separate

    with Reader(demo_song, max_duration_s=600) as reader:
        pieces = separate(reader.blocks(), ("vocals", "drums", "bass", "other"))
        error = max(float(np.abs(sum(stems.values()) - mix).max()) for mix, stems in islice(pieces, 2))
    assert error <= 1e-5


def test_where_blocks_begin_is_not_heard(demo_song: Path, stems: Stems) -> None:
    """The same song, fed in pieces of odd sizes, gives the same stems."""
    with Reader(demo_song, max_duration_s=600) as reader:
        mix = np.concatenate(list(reader.blocks()), axis=1)
    cuts = np.split(mix, [1, 777, 50_000, 441_000, 700_001], axis=1)
    pieces = islice(stem_pieces(cuts, "drums"), 2)
    drums = np.concatenate([piece["drums"] for piece in pieces], axis=1)
    assert drums.shape[1] > 700_001
    assert np.abs(drums - stems["drums"][:, : drums.shape[1]]).max() < 1e-6
