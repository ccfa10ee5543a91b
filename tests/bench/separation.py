"""The separator's engines: speed, processor time and memory, one song at a time, in a process of its own."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import av
from deployment import Deployment
from measure import Row

from sandbox.command import DEMO_SONG
from separator.models import SPLEETER

ROOT = Path(__file__).resolve().parents[2]
_MODES = {"two stems": "vocals", "four stems": None}
_REPEATS, _LONGER = 2, 3  # the bundled song has 30 s: one minute, and three


@dataclass(frozen=True)
class _Run:
    song_s: float
    wall_s: float
    cpu_s: float
    peak_mb: float


async def run(_: Deployment) -> AsyncIterator[Row]:
    """The light engine, Spleeter where its model is, and Spleeter with a longer song."""
    with tempfile.TemporaryDirectory(prefix="stemdrop-bench-") as folder:
        async for row in _measured(Path(folder)):
            yield row


async def _measured(folder: Path) -> AsyncIterator[Row]:
    song = repeated(folder / "song.mp3", _REPEATS)
    light: dict[str, _Run] = {}
    for engine in ("light", "spleeter"):
        if engine == "spleeter" and not SPLEETER.is_there():
            yield Row("`spleeter`", f"not measured: {SPLEETER.missing()}")
            return
        for mode, only in _MODES.items():
            done = await asyncio.to_thread(_separate, engine, song, only, folder)
            speed = f"{done.song_s / done.wall_s:.1f} × realtime"
            figure = f"{speed}, {done.cpu_s:.0f} s processor time, at most {done.peak_mb:.0f} MB"
            before = light.setdefault(mode, done)
            ratio = before.wall_s / done.wall_s if engine != "light" else None
            yield Row(f"`{engine}`, {mode} of {done.song_s:.0f} s", figure, "`light`" if ratio else "", ratio)
    longer = repeated(folder / "longer.mp3", _REPEATS * _LONGER)
    done_longer = await asyncio.to_thread(_separate, "spleeter", longer, None, folder)
    figure = f"at most {done_longer.peak_mb:.0f} MB"
    ratio = done_longer.peak_mb / done.peak_mb
    yield Row(f"`spleeter`, {mode} of {done_longer.song_s:.0f} s", figure, "the shorter song", ratio)


def repeated(file: Path, times: int) -> Path:
    """Write the bundled song several times over, packet by packet."""
    with av.open(str(file), "w", format="mp3") as target, av.open(str(DEMO_SONG)) as first:
        stream = target.add_stream_from_template(first.streams.audio[0])
        at = 0
        for _ in range(times):
            with av.open(str(DEMO_SONG)) as source:
                for packet in source.demux(source.streams.audio[0]):
                    if packet.dts is not None and packet.duration:
                        packet.pts = packet.dts = at
                        at += packet.duration
                        packet.stream = stream
                        target.mux(packet)
    return file


def _separate(engine: str, song: Path, only: str | None, folder: Path) -> _Run:
    request: dict[str, object] = {"engine": engine, "source": str(song), "folder": str(folder), "only": only}
    request |= {"file_format": "mp3", "max_duration_s": 7200, "max_file_bytes": 0, "memory_bytes": 3 * 2**30}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "separator.engine_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        wall_s = time.perf_counter() - started
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if "files" not in answer:
        raise RuntimeError(str(answer))
    return _Run(answer["duration_s"], wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000)
