"""Segments of the stretching that are short enough for short songs."""

import pytest

try:
    from worker.audio import stretch
except ImportError:
    stretch = None  # type: ignore[assignment]


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a song of one and a half seconds have a join, where the package stretches it."""
    if stretch is not None:
        monkeypatch.setattr(stretch, "_SEGMENT_S", 0.5)
