"""The Spleeter engine: the voice by Spleeter's pre-trained networks, the instruments by the light engine."""

from collections.abc import Iterable, Iterator
from functools import partial

from separator.audio.masking import SampleQueue
from separator.audio.samples import Floats
from separator.engine import REST, EngineRequest, Separation
from separator.light.stream import separate as separate_instruments
from separator.spleeter.network import Network
from separator.spleeter.stream import VoiceSeparator
from separator.spleeter.weights import Weights, load_weights
from separator.stem_files import write_stems


class SpleeterEngine:
    """Vocals by Spleeter; drums, bass and other by the light engine from what is left."""

    def __init__(self, weights: Weights | None = None) -> None:
        """Load the model unless `weights` are given. Raises `ModelError` if it is missing or damaged."""
        weights = weights or load_weights()
        self._voice = VoiceSeparator(Network(weights["vocals"]), Network(weights["accompaniment"]))

    def separate(self, request: EngineRequest) -> Separation:
        return write_stems(request, partial(self.stem_pieces, only=request.only))

    def stem_pieces(self, blocks: Iterable[Floats], only: str | None) -> Iterator[dict[str, Floats]]:
        """Yield the stems in pieces of 2 × samples that add up to the mix; see `EngineRequest.only`."""
        if only == "vocals":
            for mix, vocals in self._voice.separate(blocks):
                yield {"vocals": vocals, REST: mix - vocals}
            return
        waiting = SampleQueue()

        def instrumental() -> Iterator[Floats]:
            for mix, vocals in self._voice.separate(blocks):
                waiting.append(vocals)
                yield mix - vocals

        computed = ("drums", "bass") if only in (None, "other") else (only,)
        for rest, stems in separate_instruments(instrumental(), computed):
            vocals = waiting.take(rest.shape[1])
            left = rest - sum(stems.values())
            if only is None:
                yield {"vocals": vocals, **stems, "other": left}
            elif only == "other":
                yield {"other": left, REST: vocals + stems["drums"] + stems["bass"]}
            else:
                yield {**stems, REST: vocals + left}
