"""HTDemucs' network, run by onnxruntime."""

import os
from pathlib import Path

from separator.audio.samples import Floats
from separator.htdemucs.segment import analyse_segment, from_planes, synthesise_segment, to_planes


class Network:
    """The network with its weights in memory."""

    def __init__(self, file: Path, threads: int) -> None:
        # Since 1.29 it tells its maker about every use, unless this is set before it is loaded.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that wait by spinning take a sixth more processor time, and it from others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Half the memory: the arena keeps what it has ever needed, the pattern allocates all of it at once.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    def __call__(self, samples: Floats) -> Floats:
        """Return the sources of 2 × `SEGMENT` samples: sources × 2 × `SEGMENT`."""
        inputs = zip(self._inputs, (samples[None], to_planes(analyse_segment(samples))[None]), strict=True)
        planes, sounds = self._session.run(None, dict(inputs))
        sources: Floats = synthesise_segment(from_planes(planes[0])) + sounds[0]
        return sources
