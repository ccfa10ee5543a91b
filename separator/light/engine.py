"""The light engine: stem separation with numpy, without a neural network.

It is for trying stemdrop and for simple needs: its quality is far below that of neural models. It fails on
mono mixes and on voices that are off centre or doubled wide.
"""

from collections.abc import Iterable, Iterator
from functools import partial

from separator.audio.samples import Floats
from separator.engine import REST, EngineRequest, Separation
from separator.light import STEMS
from separator.light.stream import separate
from separator.stem_files import write_stems


class LightEngine:
    """Vocals, drums, bass and other by soft masks that add up to one."""

    def separate(self, request: EngineRequest) -> Separation:
        return write_stems(request, partial(stem_pieces, only=request.only))


def stem_pieces(blocks: Iterable[Floats], only: str | None) -> Iterator[dict[str, Floats]]:
    """Yield the stems of a song (stereo blocks at 44.1 kHz) in pieces of 2 × samples.

    `only` asks for this stem and `REST`, None for all stems. The last stem is the mix minus the others,
    which saves its synthesis and makes the sum exact.
    """
    computed = (only,) if only is not None else STEMS[:-1]
    remainder = REST if only is not None else STEMS[-1]
    for mix, stems in separate(blocks, computed):
        left = mix.copy()
        for sound in stems.values():
            left -= sound
        yield {**stems, remainder: left}
