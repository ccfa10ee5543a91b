"""Spleeter's U-Net in numpy: convolutions as matrix products.

The architecture is that of Hennequin et al., "Spleeter: a fast and efficient music source separation tool
with pre-trained models" (Journal of Open Source Software, 2020): six strided 5×5 convolutions, six transposed
ones with skip connections, and a dilated 4×4 convolution whose sigmoid is the mask.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from separator.audio.samples import Floats

DEPTH = 6
ARRAYS = (
    *(
        f"{direction}{number}/{name}"
        for direction in ("down", "up")
        for number in range(1, DEPTH + 1)
        for name in ("kernel", "bias", "scale", "shift")
    ),
    "last/kernel",
    "last/bias",
)
"""The names of a network's arrays; `scale` and `shift` are a layer's batch normalisation.

Kernels are outputs × (25 · inputs) for `down`, (25 · outputs) × inputs for `up`, 2 × 4 × 4 for `last`.
"""

MULTIPLE = 2**DEPTH
"""Frames and bins of the input must be multiples of this."""

_KERNEL = 5
_CHUNK = 2**21  # floats of a layer's products at once, 8 MB
_LEAK = np.float32(0.2)


class Network:
    """Estimates the mask of one source in a stereo magnitude spectrogram."""

    def __init__(self, arrays: Mapping[str, Floats]) -> None:
        """Take the arrays named in `ARRAYS`.

        They keep their float type until they are used, since half floats take half the memory.
        """
        self._layers: dict[str, dict[str, Floats]] = defaultdict(dict)
        for name in ARRAYS:
            layer, part = name.split("/")
            self._layers[layer][part] = np.ascontiguousarray(arrays[name])

    def __call__(self, magnitude: Floats) -> Floats:
        """Return the mask, 2 × frames × bins from 0 to 1, for magnitudes of the same shape."""
        sound = magnitude
        skipped = []
        for number in range(1, DEPTH + 1):
            layer = self._layer(f"down{number}")
            sound = _convolve(sound, layer["kernel"], layer["bias"])
            skipped.append(sound)
            if number < DEPTH:
                sound = _normalise(sound, layer)
                np.maximum(sound, _LEAK * sound, out=sound)
        sound = skipped.pop()
        for number in range(1, DEPTH + 1):
            layer = self._layer(f"up{number}")
            sound = _convolve_transposed(sound, layer["kernel"], layer["bias"])
            np.maximum(sound, 0, out=sound)
            sound = _normalise(sound, layer)
            if skipped:
                sound = np.concatenate([skipped.pop(), sound])
        layer = self._layer("last")
        return _last_layer(sound[0], layer["kernel"], layer["bias"])

    def _layer(self, name: str) -> dict[str, Floats]:
        return {part: array.astype(np.float32, copy=False) for part, array in self._layers[name].items()}


def _normalise(sound: Floats, layer: Mapping[str, Floats]) -> Floats:
    return sound * layer["scale"][:, None, None] + layer["shift"][:, None, None]


def _convolve(sound: Floats, kernel: Floats, bias: Floats) -> Floats:
    """Convolve with stride 2, with one row and column of padding before and two after."""
    inputs, height, width = len(sound), sound.shape[1] // 2, sound.shape[2] // 2
    padded = np.pad(sound, ((0, 0), (1, 2), (1, 2)))
    result = np.empty((len(bias), height, width), np.float32)
    for first, last in _chunks(height, inputs * width):
        columns = np.empty((_KERNEL, _KERNEL, inputs, last - first, width), np.float32)
        for row, column in np.ndindex(_KERNEL, _KERNEL):
            columns[row, column] = padded[
                :, 2 * first + row : 2 * last + row : 2, column : column + 2 * width : 2
            ]
        part = kernel @ columns.reshape(_KERNEL**2 * inputs, -1)
        result[:, first:last] = part.reshape(-1, last - first, width)
    result += bias[:, None, None]
    return result


def _convolve_transposed(sound: Floats, kernel: Floats, bias: Floats) -> Floats:
    """Convolve transposed with stride 2, without the first and the last two rows and columns.

    Even and odd rows and columns are added up separately, because numpy adds contiguous rows fastest.
    """
    inputs, height, width = sound.shape
    outputs = len(bias)
    phases = np.zeros((2, 2, outputs, height + 2, width + 2), np.float32)
    for first, last in _chunks(height, outputs * width):
        columns = kernel @ sound[:, first:last].reshape(inputs, -1)
        columns = columns.reshape(_KERNEL, _KERNEL, outputs, last - first, width)
        for row, column in np.ndindex(_KERNEL, _KERNEL):
            top, left = row // 2, column // 2
            phase = phases[row % 2, column % 2]
            phase[:, first + top : last + top, left : left + width] += columns[row, column]
    result = np.empty((outputs, 2 * height, 2 * width), np.float32)
    for row, column in np.ndindex(2, 2):
        # the first row is cropped, so the odd rows become the result's even ones
        part = phases[1 - row, 1 - column, :, row : row + height, column : column + width]
        np.add(part, bias[:, None, None], out=result[:, row::2, column::2])
    return result


def _chunks(height: int, row_size: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows whose products stay small, since all of them would take most of the memory."""
    rows = max(1, _CHUNK // (_KERNEL**2 * row_size))
    for first in range(0, height, rows):
        yield first, min(height, first + rows)


def _last_layer(sound: Floats, kernel: Floats, bias: Floats) -> Floats:
    """Convolve with a dilation of 2 and apply the sigmoid."""
    height, width = sound.shape
    padded = np.pad(sound, 3)
    result = np.empty((len(kernel), height, width), np.float32)
    for output, weights in enumerate(kernel):
        result[output] = bias[output]
        for (row, column), weight in np.ndenumerate(weights):
            result[output] += weight * padded[2 * row : 2 * row + height, 2 * column : 2 * column + width]
    np.exp(-np.clip(result, -80, 80), out=result)
    result += 1
    return np.reciprocal(result, out=result)
