"""Running an engine in a process of its own: a crash, a full memory or an endless loop ends that process
alone.

The parent's side; the child's is `separator.engine_process`. They speak one line of JSON each way. The child
gets no environment variables worth stealing: it handles files from outside.
"""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from separator.engine import Order, Separation
from separator.errors import EngineError, UnreadableSourceError

_ROOT = Path(__file__).resolve().parent.parent
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "HOME", "SYSTEMROOT")
_MAX_ANSWER = 1024**2


async def separate(engine: str, order: Order, timeout_s: float, memory_bytes: int) -> Separation:
    """`Engine.separate` elsewhere. Raises `UnreadableSourceError`, and `EngineError` for whatever else went
    wrong, the end of the process included. When cancelled, the process is gone before this returns.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "separator.engine_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=_environment(),
        start_new_session=True,  # Ctrl-C in a terminal is for the service, which ends its engines itself
        limit=_MAX_ANSWER,
    )
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        async with asyncio.timeout(timeout_s):
            # Standard input stays open: its end tells the child that the parent is gone.
            process.stdin.write(_request(engine, order, memory_bytes))
            with contextlib.suppress(ConnectionError):  # died at once: the exit code says so below
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
    # One run is to use one core; several runs share the machine. The path makes `-m` work from any folder.
    return {**kept, "PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _request(engine: str, order: Order, memory_bytes: int) -> bytes:
    fields = {
        "engine": engine,
        "memory_bytes": memory_bytes,
        "source": str(order.source.resolve()),
        "folder": str(order.folder.resolve()),
        "only": order.only,
        "file_format": order.file_format,
        "max_duration_s": order.max_duration_s,
    }
    return json.dumps(fields).encode() + b"\n"


def _separation(answer: dict[str, Any]) -> Separation:
    if "unreadable" in answer:
        raise UnreadableSourceError(answer["unreadable"])
    if "failed" in answer:
        raise EngineError(answer["failed"])
    return Separation({stem: Path(file) for stem, file in answer["files"].items()}, answer["duration_s"])
