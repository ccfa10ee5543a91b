"""The quality of the light engine, measured against the true stems of a part of the demo song."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from separator.audio.formats import FileFormat
from separator.audio.reader import Reader
from separator.audio.samples import SAMPLE_RATE
from separator.audio.writer import Writer
from separator.engine import REST
from separator.light import STEMS
from separator.light.engine import stem_pieces
from separator.light.stream import separate

Floats = npt.NDArray[np.float32]
Stems = dict[str, Floats]
Decode = Callable[..., Floats]

# A part of the song in which all stems play, longer than one of the engine's blocks.
PART = slice(4 * SAMPLE_RATE, 16 * SAMPLE_RATE)


@pytest.fixture(scope="module")
def mix(demo_song: Path) -> Floats:
    with Reader(demo_song, max_duration_s=600) as reader:
        seconds = list(islice(reader.blocks(), PART.stop // SAMPLE_RATE + 1))
    return np.concatenate(seconds, axis=1)[:, PART]


@pytest.fixture(scope="module")
def stems(mix: Floats) -> Stems:
    """All stems, each by its own mask."""
    pieces = [piece for _, piece in separate([mix], STEMS)]
    return {stem: np.concatenate([piece[stem] for piece in pieces], axis=1) for stem in STEMS}


@pytest.fixture(scope="module")
def truth(media: Path, decode: Decode) -> Stems:
    return {stem: decode(media / f"demo-song.{stem}.flac", seconds=16)[:, PART] for stem in STEMS}


def _sdr_db(true: Floats, estimate: Floats) -> float:
    """Return the signal-to-distortion ratio over the whole stereo signal in dB."""
    error = true.astype(np.float64) - estimate
    return float(10 * np.log10(np.sum(true.astype(np.float64) ** 2) / np.sum(error**2)))


@pytest.mark.parametrize(
    ("stem", "least_db"), [("vocals", 6.3), ("drums", 7.5), ("bass", 4.8), ("other", 5.2)]
)
def test_each_stem_resembles_the_true_one(stems: Stems, truth: Stems, stem: str, least_db: float) -> None:
    assert _sdr_db(truth[stem], stems[stem]) >= least_db


def test_the_masks_add_up_to_the_mix(stems: Stems, mix: Floats) -> None:
    assert np.abs(sum(stems.values()) - mix).max() <= 1e-5


def test_delivered_mp3_files_resemble_the_true_stems(
    mix: Floats, stems: Stems, truth: Stems, decode: Decode, tmp_path: Path
) -> None:
    """The encoding must not cost the quality of the separation."""
    part = slice(5 * SAMPLE_RATE, 9 * SAMPLE_RATE)
    vocals, rest = tmp_path / "vocals.mp3", tmp_path / "rest.mp3"
    for file, sound in ((vocals, stems["vocals"]), (rest, mix - stems["vocals"])):
        with Writer(file, FileFormat.MP3, {}) as writer:
            writer.write(sound[:, part])
    assert _sdr_db(truth["vocals"][:, part], decode(vocals)) >= 7.0
    assert _sdr_db((mix - truth["vocals"])[:, part], decode(rest)) >= 11.05


def test_the_sizes_of_the_input_blocks_make_no_difference(mix: Floats, stems: Stems) -> None:
    sizes = np.split(mix, [1, 777, 50_000, 441_000], axis=1)
    pieces = list(stem_pieces(sizes, "drums"))
    drums, rest = (np.concatenate([piece[stem] for piece in pieces], axis=1) for stem in ("drums", REST))
    assert drums.shape == mix.shape
    assert np.abs(drums - stems["drums"]).max() < 1e-6
    assert np.abs(drums + rest - mix).max() <= 1e-5
