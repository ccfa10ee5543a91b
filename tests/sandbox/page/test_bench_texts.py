"""The bench has a text, in both languages, for each state of a job and each fault."""

from pathlib import Path

import sandbox.page.routes
from sandbox.bench.separation_faults import SeparationFaultKind
from sandbox.telegram.faults import FaultKind
from stemdrop.domain.jobs import JobState


def test_each_state_and_each_fault_has_its_text() -> None:
    texts = (Path(sandbox.page.routes.__file__).parent / "bench_texts.js").read_text("utf-8")
    names = [f"state_{state}" for state in JobState]
    names += [f"fault_{kind}" for kind in (*FaultKind, *SeparationFaultKind)]
    assert [name for name in names if texts.count(f"  {name}: ") != 2] == []
