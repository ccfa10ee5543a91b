"""HTDemucs' network, run by onnxruntime."""

import os
from pathlib import Path

from separator.audio.samples import Floats
from separator.htdemucs.segment import analyse_segment, from_planes, synthesise_segment, to_planes


class Network:
    """The network with its weights in memory."""

    def __init__(self, file: Path, threads: int) -> None:
        # onnxruntime reports every use to its maker since 1.29, unless this is set before the import.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that wait by spinning take a sixth more processor time, away from other processes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # This halves the memory: the arena never returns memory, and the pattern allocates all at once.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    def __call__(self, samples: Floats) -> Floats:
        """Separate a segment (2 × `SEGMENT` samples) into its sources (sources × 2 × `SEGMENT`)."""
        inputs = zip(self._inputs, (samples[None], to_planes(analyse_segment(samples))[None]), strict=True)
        planes, sounds = self._session.run(None, dict(inputs))
        sources: Floats = synthesise_segment(from_planes(planes[0])) + sounds[0]
        return sources
