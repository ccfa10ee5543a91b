"""Runs an engine in a process of its own, so that a crash or a lack of memory ends only that process.

The child is `separator.engine_process`; parent and child exchange one line of JSON each. The child handles
files from outside, so it gets no secrets in its environment.
"""

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from separator import models
from separator.engine import EngineRequest, Separation
from separator.errors import EngineError, UnreadableSourceError

_ROOT = Path(__file__).resolve().parent.parent
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", *models.FOLDER_VARIABLES)
_MAX_ANSWER = 1024**2


async def separate(engine: str, request: EngineRequest, timeout_s: float, memory_bytes: int) -> Separation:
    """Run `Engine.separate` in a process that a cancellation kills. Raises `EngineError` for a failure.

    Raises `OSError` if the disk is full or away (`DISK_ERRORS`).
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "separator.engine_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=_environment(),
        start_new_session=True,  # Ctrl-C in a terminal goes to the web process, which ends its engines
        limit=_MAX_ANSWER,
    )
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        async with asyncio.timeout(timeout_s):
            # Standard input stays open: the child exits when it closes.
            process.stdin.write(_request_line(engine, request, memory_bytes))
            with contextlib.suppress(ConnectionError):  # the process has ended; its exit code is read below
                await process.stdin.drain()
            answer = await process.stdout.readline()
            if not answer:
                code = await process.wait()
                raise EngineError(f"the engine ended unexpectedly ({code})")
    except TimeoutError:
        raise EngineError(f"the engine took longer than {timeout_s:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.stdin.close()
        await process.wait()
    return _separation(json.loads(answer))


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # One core per run, since several runs share the machine. PYTHONPATH lets `-m` work in any folder.
    return {**kept, "PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _request_line(engine: str, request: EngineRequest, memory_bytes: int) -> bytes:
    paths = {"source": request.source.resolve(), "folder": request.folder.resolve()}
    fields = {"engine": engine, "memory_bytes": memory_bytes, **asdict(request), **paths}
    return json.dumps(fields, default=str).encode() + b"\n"


def _separation(answer: dict[str, Any]) -> Separation:
    if "unreadable" in answer:
        raise UnreadableSourceError(answer["unreadable"])
    if "disk" in answer:
        raise OSError(answer["disk"], os.strerror(answer["disk"]))
    if "failed" in answer:
        raise EngineError(answer["failed"])
    return Separation({stem: Path(file) for stem, file in answer["files"].items()}, answer["duration_s"])
