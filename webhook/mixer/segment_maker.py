"""`SegmentMaker`: the webhook's side of the process that cuts stems into segments."""

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from stemdrop.errors import StemdropError, TryLater

log = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[2]
# The process handles files from outside, so it gets no secrets in its environment.
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR")
# With nothing to cut, the process, which holds 60 MB, ends after this time.
_IDLE_S = 120
_AGAIN_S = 5


class NotPlayable(StemdropError):
    """A stem's file cannot be decoded."""


class SegmentMaker:
    """Starts `webhook.mixer.segment_process` when it is needed, and ends it when it is not."""

    def __init__(self, idle_s: float = _IDLE_S) -> None:
        self._idle_s = idle_s
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._answers: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self._idle: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The process id; `None` while no process runs."""
        return self._process.pid if self._process else None

    async def cut(self, folder: Path) -> AsyncGenerator[int, None]:
        """Cut the file `source` of a folder into `0.flac`, `1.flac`, …; yield the bytes of each when written.

        A segment is made only when the caller asks for it. Raises `NotPlayable`, or `TryLater` when the disk
        is full or the process has died.
        """
        name = str(folder)
        answers = self._answers[name] = asyncio.Queue()
        is_over = False
        try:
            while True:
                if answers.empty():  # the process may have died since the last segment
                    await self._order(folder=name)
                answer = await answers.get()
                is_over = "size_bytes" not in answer
                if answer.get("end"):
                    return
                if is_over:
                    raise _trouble(answer)
                yield answer["size_bytes"]
        finally:
            del self._answers[name]
            if not is_over:
                with contextlib.suppress(TryLater):
                    await self._order(folder=name, drop=True)
            if not self._answers:
                self._idle = asyncio.get_running_loop().call_later(self._idle_s, self.end)

    def end(self) -> None:
        """End the process; stems that are still being cut fail with `TryLater`."""
        if self._idle:
            self._idle.cancel()
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def close(self) -> None:
        self.end()
        if self._reading:
            await asyncio.wait([self._reading])

    async def _order(self, **order: Any) -> None:
        async with self._starting:
            if self._idle:
                self._idle.cancel()
            if self._process is None:
                if order.get("drop"):
                    return
                await self._start()
            process = self._process
        if process is None or process.stdin is None:
            raise TryLater(_AGAIN_S, "the process that cuts stems has ended")
        process.stdin.write(json.dumps(order).encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # `_read` notices the end of the process
            await process.stdin.drain()

    async def _start(self) -> None:
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        try:
            self._process = await asyncio.create_subprocess_exec(
                # -P: files in the working directory are data, never modules
                *(sys.executable, "-P", "-m", "webhook.mixer.segment_process"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**kept, "PYTHONPATH": str(_ROOT)},
                start_new_session=True,  # Ctrl-C goes to the webhook alone, which ends this process
            )
        except OSError as error:
            raise TryLater(_AGAIN_S, f"no process can be started: {error.strerror}") from error
        self._reading = asyncio.create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Pass each answer to the call of `cut` that waits for it, until the process ends."""
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        async for line in process.stdout:
            answer = json.loads(line)
            if waiting := self._answers.get(answer["folder"]):
                waiting.put_nowait(answer)
        process.stdin.close()
        code = await process.wait()
        self._process = None
        if self._answers:
            log.warning("the process that cuts stems for the mixer ended unexpectedly (%s)", code)
        for waiting in self._answers.values():
            waiting.put_nowait({"failed": "process"})


def _trouble(answer: dict[str, Any]) -> StemdropError:
    if answer["failed"] == "not_audio":
        return NotPlayable("a stem cannot be decoded for the mixer")
    if answer["failed"] == "disk":
        log.warning("the mixer's segments cannot be written: %s", answer["why"])
    if answer["failed"] == "memory":
        log.warning("the process that cuts stems for the mixer has no memory left")
    return TryLater(_AGAIN_S, "a stem could not be cut into segments")
