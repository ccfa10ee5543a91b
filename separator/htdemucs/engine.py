"""The HTDemucs engine: all four stems by a pre-trained hybrid transformer."""

import os
from functools import partial

from separator.engine import EngineRequest, Separation
from separator.htdemucs.model_file import check
from separator.htdemucs.network import Network
from separator.htdemucs.stream import stem_pieces
from separator.stem_files import write_stems

_MAX_THREADS = 16


class HTDemucsEngine:
    """Vocals, drums, bass and other by HTDemucs."""

    def __init__(self) -> None:
        """Load the model. Raises `ModelError` for a file that is missing or damaged."""
        self._network = Network(check(), min(_cores(), _MAX_THREADS))

    def separate(self, request: EngineRequest) -> Separation:
        return write_stems(request, partial(stem_pieces, only=request.only, network=self._network))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
