"""The separator's light engine on one core, beside decoding and encoding alone; others where they are."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio_files import repeat
from rows import Row, at_least, at_most

from sandbox.command import DEMO_SONG
from separator.models import SPLEETER

ROOT = Path(__file__).resolve().parents[2]
_MODES = {"two stems": ("vocals", 2, 18), "four stems": (None, 4, 12)}
_REPEATS, _SPLEETER_REPEATS = 8, 2  # the bundled song has 30 s: four minutes, and one
_PEAK_MB = 250


@dataclass(frozen=True)
class _Run:
    song_s: float
    wall_s: float
    cpu_s: float
    peak_mb: float

    @property
    def speed(self) -> float:
        return self.song_s / self.wall_s


async def run(folder: Path) -> AsyncIterator[Row]:
    """Each in a process of its own that may use one core."""
    song = repeat(DEMO_SONG, folder / "song.mp3", _REPEATS)
    for mode, (only, stems, least) in _MODES.items():
        alone = await asyncio.to_thread(_decode_and_encode, song, stems, folder)
        done = await asyncio.to_thread(_separate, "light", song, only, folder)
        yield Row(
            f"separator `light`, {mode} of {done.song_s:.0f} s, one core",
            f"{done.speed:.1f} × realtime, {done.cpu_s:.1f} s processor time, at most {done.peak_mb:.0f} MB",
            f"decoding it and encoding {stems} files {alone.song_s / alone.wall_s:.0f} × realtime",
            (at_least(done.speed, least, " × realtime"), at_most(done.peak_mb, _PEAK_MB, " MB")),
        )


async def run_spleeter(folder: Path) -> AsyncIterator[Row]:
    """Spleeter, where its model is; its memory does not grow with the song."""
    if not SPLEETER.is_there():
        yield Row("`spleeter`", f"not measured: {SPLEETER.missing()}")
        return
    for repeats in (_SPLEETER_REPEATS, _REPEATS):
        song = repeat(DEMO_SONG, folder / "song.mp3", repeats)
        done = await asyncio.to_thread(_separate, "spleeter", song, None, folder)
        figure = f"{done.speed:.1f} × realtime, {done.cpu_s:.0f} s processor time"
        yield Row(
            f"`spleeter`, four stems of {done.song_s:.0f} s", f"{figure}, at most {done.peak_mb:.0f} MB"
        )


def _separate(engine: str, song: Path, only: str | None, folder: Path) -> _Run:
    request: dict[str, object] = {"engine": engine, "source": str(song), "folder": str(folder), "only": only}
    request |= {"file_format": "mp3", "max_duration_s": 7200, "max_file_bytes": 0, "memory_bytes": 3 * 2**30}
    answer, wall_s, cpu_s, peak_mb = _on_one_core(["-m", "separator.engine_process"], request)
    if "files" not in answer:
        raise RuntimeError(str(answer))
    return _Run(answer["duration_s"], wall_s, cpu_s, peak_mb)


def _decode_and_encode(song: Path, stems: int, folder: Path) -> _Run:
    request = {"song": str(song), "stems": stems, "folder": str(folder)}
    program = str(Path(__file__).with_name("baseline_transcoding.py"))
    answer, wall_s, cpu_s, peak_mb = _on_one_core([program], request)
    return _Run(answer["duration_s"], wall_s, cpu_s, peak_mb)


def _on_one_core(
    arguments: list[str], request: dict[str, object]
) -> tuple[dict[str, Any], float, float, float]:
    """Return the answer of a program of Python, and its seconds, processor seconds and peak memory in MB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("one_core.py")), *arguments]
    done = subprocess.run(
        command,
        input=json.dumps(request) + "\n",
        env=environment,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    answer, used = (json.loads(line) for line in done.stdout.splitlines()[-2:])
    return answer, *used
