"""Rendering of remixes: processor time and memory, each in a process of its own, on one core."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from audio_files import repeat
from rows import Row, compared

from sandbox.command import DEMO_SONG

ROOT = Path(__file__).resolve().parents[2]
_PROCESS = Path(__file__).with_name("remix_process.py")
_STEMS, _REPEATS, _LONGER = 12, 8, 3  # the bundled song has 30 s: four minutes, and twelve
_SLOWER = {"speed": 80, "semitones": -2}


@dataclass(frozen=True)
class _Run:
    song_s: float
    wall_s: float
    cpu_s: float
    peak_mb: float

    @property
    def figure(self) -> str:
        return f"{self.cpu_s:.1f} s processor time in {self.wall_s:.1f} s, at most {self.peak_mb:.0f} MB"


async def run(folder: Path) -> AsyncIterator[Row]:
    """Decoding and encoding alone, twelve stems, twelve that are slower and lower, and longer ones."""
    song = repeat(DEMO_SONG, folder / "song.mp3", _REPEATS)
    alone = await asyncio.to_thread(_render, song, 1, {})
    yield Row(f"one stem of {alone.song_s:.0f} s decoded and encoded as MP3", alone.figure)
    plain = await asyncio.to_thread(_render, song, _STEMS, {})
    yield compared(f"a remix of {_STEMS} stems", plain.figure, plain.cpu_s / alone.cpu_s, "one stem")
    slower = await asyncio.to_thread(_render, song, _STEMS, _SLOWER)
    what = f"… at 80 %, two semitones lower: {slower.song_s:.0f} s"
    yield compared(what, slower.figure, slower.cpu_s / alone.cpu_s, "one stem")
    longer_song = repeat(DEMO_SONG, folder / "longer.mp3", _REPEATS * _LONGER)
    longer = await asyncio.to_thread(_render, longer_song, _STEMS, _SLOWER)
    figure = f"at most {longer.peak_mb:.0f} MB"
    ratio = longer.peak_mb / slower.peak_mb
    yield compared(f"… of a song {_LONGER} times as long", figure, ratio, "the shorter song")


def _render(song: Path, stems: int, recipe: dict[str, int]) -> _Run:
    request = {"song": str(song), "stems": stems, "recipe": recipe}
    command = [sys.executable, str(_PROCESS), json.dumps(request)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
    return _Run(*json.loads(done.stdout))
