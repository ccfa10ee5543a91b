"""The HTDemucs engine: segments and transforms, and in `make quality` the figures with the real weights."""

import asyncio
import os
import resource
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from separator import fetch_model, isolation
from separator.audio.formats import FileFormat
from separator.audio.samples import SAMPLE_RATE
from separator.engine import REST, EngineRequest
from separator.errors import ModelError
from separator.htdemucs import STEMS
from separator.htdemucs.network import Network
from separator.htdemucs.segment import (
    SEGMENT,
    SOURCES,
    analyse_segment,
    from_planes,
    synthesise_segment,
    to_planes,
)
from separator.htdemucs.stream import stem_pieces
from separator.models import HTDEMUCS
from separator.settings import SeparatorSettings, fit_to_engine

Floats = npt.NDArray[np.float32]
Decode = Callable[[Path], Floats]
Measure = Callable[[dict[str, Floats], Floats], dict[str, float]]
SHARES = np.array([0.1, 0.2, 0.3, 0.3], np.float32)[:, None, None]


@cache
def _noise(samples: int) -> Floats:
    return np.random.default_rng(3).normal(0, 0.1, (2, samples)).astype(np.float32)


def _blocks(sound: Floats, size: int = SAMPLE_RATE) -> Iterator[Floats]:
    for start in range(0, sound.shape[1], size):
        yield sound[:, start : start + size]


@pytest.mark.parametrize(
    ("samples", "segments"),
    [
        (17, 1),
        (SEGMENT, 1),
        (SEGMENT + 1, 2),
        (SEGMENT + SEGMENT * 3 // 4, 2),
        (SEGMENT + SEGMENT * 3 // 4 + 1, 3),
    ],
)
@pytest.mark.parametrize("only", [None, "bass"])
def test_the_segments_make_the_whole_song(samples: int, segments: int, only: str | None) -> None:
    """Each source of this network is a share of the mix; a tenth of the mix is in none of them."""
    mix = _noise(samples)
    calls = []

    def network(segment: Floats) -> Floats:
        calls.append(segment.shape)
        return SHARES * segment

    pieces = list(stem_pieces(_blocks(mix), only, network))
    stems = {stem: np.concatenate([piece[stem] for piece in pieces], axis=1) for stem in pieces[0]}
    assert calls == [(2, SEGMENT)] * segments
    assert stems.keys() == (set(STEMS) if only is None else {only, REST})
    assert np.abs(sum(stems.values()) - mix).max() <= 1e-6
    for stem, share in zip(SOURCES, SHARES, strict=True):
        if stem in stems:
            assert np.abs(stems[stem] - (share + np.float32(0.025)) * mix).max() <= 1e-6


def test_a_segment_fades_into_the_next_one() -> None:
    loudness = iter([0.0, 1.0])

    def network(segment: Floats) -> Floats:
        bass = np.full_like(segment, next(loudness))
        return np.stack([-bass, bass, 0 * bass, 0 * bass])

    pieces = list(stem_pieces(_blocks(np.zeros((2, SEGMENT + 100), np.float32)), "bass", network))
    bass = np.concatenate([piece["bass"] for piece in pieces], axis=1)[0]
    assert bass.shape == (SEGMENT + 100,)
    start = SEGMENT - SEGMENT // 4
    assert np.all(bass[:start] == 0)
    assert np.all(bass[SEGMENT:] == 1)
    assert np.all(np.diff(bass[start:SEGMENT]) >= 0)
    assert np.abs(np.diff(bass)).max() < 1e-4


def test_memory_does_not_grow_with_the_song() -> None:
    """At most two segments of any song have been read and not yet given out."""
    read = 0

    def endless() -> Iterator[Floats]:
        nonlocal read
        while True:
            read += SAMPLE_RATE
            yield np.zeros((2, SAMPLE_RATE), np.float32)

    given = 0
    for piece in islice(stem_pieces(endless(), None, lambda segment: SHARES * segment), 5):
        given += piece["vocals"].shape[1]
        assert read - given <= 2 * SEGMENT


def test_the_network_gets_and_returns_the_spectra_of_the_samples() -> None:
    times = np.arange(SEGMENT) / SAMPLE_RATE
    sound = np.stack([np.sin(2 * np.pi * 440 * times), np.cos(2 * np.pi * 3000 * times)]).astype(np.float32)
    planes = to_planes(analyse_segment(sound))
    assert planes.shape == (4, 2048, 336)
    assert planes.dtype == np.float32
    loudest = np.abs(planes[0] + 1j * planes[1]).sum(axis=1).argmax()
    assert loudest == round(440 * 4096 / SAMPLE_RATE)
    back = synthesise_segment(from_planes(np.stack([planes, 2 * planes])))
    assert back.shape == (2, 2, SEGMENT)
    inner = slice(4096, -4096)  # the outermost frames are the network's to fill
    assert np.abs(back[0] - sound)[:, inner].max() <= 1e-5
    assert np.abs(back[1] - 2 * sound)[:, inner].max() <= 1e-5


def test_the_limits_of_a_song_fit_an_hour_of_music() -> None:
    given = SeparatorSettings(api_key="", data=Path(), origin="", engine_runs=4)
    assert fit_to_engine(given) == given
    fitted = fit_to_engine(SeparatorSettings(api_key="", data=Path(), origin="", engine="htdemucs"))
    assert fitted.engine_runs == 1
    assert fitted.engine_timeout_s > 5 * given.max_duration_s
    assert fitted.engine_memory_bytes > 4 * 1024**3


def _sdr_db(true: Floats, estimate: Floats) -> float:
    length = min(true.shape[1], estimate.shape[1])
    true, error = true[:, :length].astype(np.float64), (true - estimate[:, :length])[:, :length]
    return float(10 * np.log10(np.sum(true**2) / np.sum(error.astype(np.float64) ** 2)))


def _need_onnxruntime() -> None:
    if find_spec("onnxruntime") is None:
        pytest.skip("NOT TESTED: HTDemucs, because onnxruntime is not installed")


def test_onnxruntime_is_told_to_report_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _need_onnxruntime()
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    with pytest.raises(Exception, match="no-such-model"):
        Network(Path("no-such-model"), 1)
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.fixture(scope="session")
def model_file() -> Path:
    """The real weights, fetched once into this user's models folder, for a use that their licence allows."""
    _need_onnxruntime()
    try:
        fetch_model.fetch(HTDEMUCS)
    except ModelError as error:
        pytest.skip(f"NOT TESTED: HTDemucs, because its model could not be fetched: {error}")
    return HTDEMUCS.file()


@pytest.fixture(scope="session")
def truth(media: Path, decode: Decode) -> dict[str, Floats]:
    parts = {stem: decode(media / f"demo-song.{stem}.flac") for stem in STEMS}
    length = min(part.shape[1] for part in parts.values())
    return {stem: part[:, :length] for stem, part in parts.items()}


@pytest.fixture(scope="session")
def measure(model_file: Path) -> Measure:
    """Return a function that separates a mix and returns how near each stem is to the true one, in dB."""
    network = Network(model_file, 2)

    def figures(truth: dict[str, Floats], mix: Floats) -> dict[str, float]:
        pieces = list(stem_pieces(_blocks(mix), None, network))
        stems = {stem: np.concatenate([piece[stem] for piece in pieces], axis=1) for stem in STEMS}
        assert np.abs(_mixed(stems) - mix).max() <= 1e-5
        found = {stem: _sdr_db(truth[stem], stems[stem]) for stem in STEMS}
        found["instrumental"] = _sdr_db(_mixed(truth) - truth["vocals"], mix - stems["vocals"])
        print({stem: round(figure, 2) for stem, figure in found.items()})  # noqa: T201 - for docs/separator.md
        return found

    return figures


def _mixed(stems: dict[str, Floats]) -> Floats:
    return np.sum(list(stems.values()), axis=0)


def _short_of(least: dict[str, float], figures: dict[str, float]) -> dict[str, float]:
    return {stem: figures[stem] for stem in least if figures[stem] < least[stem]}


LEAST = {"vocals": 10.6, "instrumental": 16.0, "drums": 14.0, "bass": 11.5, "other": 8.5}


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_demo_song(measure: Measure, truth: dict[str, Floats]) -> None:
    assert _short_of(LEAST, measure(truth, _mixed(truth))) == {}


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_demo_song_as_mp3(
    measure: Measure, truth: dict[str, Floats], demo_song: Path, decode: Decode
) -> None:
    """The encoding of the bundled file costs the drums 0.6 dB."""
    assert _short_of({**LEAST, "drums": 13.7}, measure(truth, decode(demo_song))) == {}


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_a_real_song(measure: Measure, real_song: dict[str, Floats]) -> None:
    assert _short_of({"vocals": 5.2, "instrumental": 12.4}, measure(real_song, _mixed(real_song))) == {}


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_its_process_needs_3_gb_and_leaves_nothing(
    model_file: Path, demo_song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: decode, separate, encode, with the limits of the separator."""
    monkeypatch.setenv("STEMDROP_MODELS", str(model_file.parent))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "home").mkdir()
    limits = fit_to_engine(SeparatorSettings(api_key="", data=tmp_path, origin="", engine="htdemucs"))
    request = EngineRequest(demo_song, tmp_path, "vocals", FileFormat.MP3, 600)
    result = asyncio.run(
        isolation.separate("htdemucs", request, limits.engine_timeout_s, limits.engine_memory_bytes)
    )
    assert result.duration_s == pytest.approx(30, abs=0.1)
    assert result.files.keys() == {"vocals", REST}
    peak_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"peak memory {peak_kb / 1024:.0f} MB")  # noqa: T201
    assert peak_kb < 3 * 1024**2
    assert list((tmp_path / "home").iterdir()) == [], "onnxruntime keeps what it reports to its maker"
