"""Changes the tempo and the pitch of a song with FFmpeg's filters, for machines without `python-stretch`.

The filters repeat or leave out short pieces of sound, which is audible in held tones.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain

import av
import av.error
import numpy as np
from av.filter import Graph

from worker.audio.blocks import MIX_RATE, Block, as_frame

# The slowest tempo that one `atempo` filter makes well.
_SLOWEST = 0.5
# The filter plays a sound too early by this much of its input on average, give or take 10 ms.
_EARLY_S = 0.017


def stretch(blocks: Iterator[Block], speed: int, semitones: int) -> Iterator[Block]:
    """Yield the song at `speed` percent and `semitones` higher: exactly 100 / `speed` times its length."""
    graph, early = _graph(speed / 100, 2 ** (semitones / 12))
    graph.push(as_frame(np.zeros((2, early), np.float32), 0))
    given = made = 0
    for block in chain(blocks, [None]):
        graph.push(None if block is None else as_frame(block, early + given))
        given += 0 if block is None else block.shape[1]
        for part in _ready(graph):
            # the filters may add some samples to the exact length
            wanted = part[:, : round(given * 100 / speed) - made]
            made += wanted.shape[1]
            yield wanted
    if rest := round(given * 100 / speed) - made:
        yield np.zeros((2, rest), np.float32)


def _graph(tempo: float, pitch: float) -> tuple[Graph, int]:
    """Return filters that change the pitch by playing a sound faster or slower, and then correct its tempo.

    The second value is the number of input samples by which their output is early.
    """
    graph = Graph()
    rate = round(MIX_RATE * pitch)
    nodes = [graph.add_abuffer(None, MIX_RATE, "fltp", "stereo", None, None, Fraction(1, MIX_RATE))]
    if rate != MIX_RATE:
        nodes += [graph.add("asetrate", str(rate)), graph.add("aresample", str(MIX_RATE))]
    tempo *= MIX_RATE / rate
    early_s = _EARLY_S * pitch
    if tempo < _SLOWEST:
        nodes.append(graph.add("atempo", str(_SLOWEST)))
        tempo /= _SLOWEST
        early_s += early_s * _SLOWEST
    nodes += [graph.add("atempo", f"{tempo:.9f}"), graph.add("aformat", f"fltp:{MIX_RATE}:stereo")]
    nodes.append(graph.add("abuffersink"))
    graph.link_nodes(*nodes).configure()
    return graph, round(early_s * MIX_RATE)


def _ready(graph: Graph) -> Iterator[Block]:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(frame, av.AudioFrame)  # noqa: S101 - there is no picture
        yield frame.to_ndarray()
