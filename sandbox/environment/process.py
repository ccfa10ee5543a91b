"""A process of the product, as the sandbox and the journeys start, stop and kill it: a real one, with its log
in a file, gone when its parent is."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Run between us and the program: the kernel ends it with us. 1 is PR_SET_PDEATHSIG (prctl(2)).
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""
# The code that runs here is the code that is started, from any folder.
_ROOT = Path(__file__).resolve().parents[2]
_READY_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 0.05


class ProcessFailedError(Exception):
    """A process ended before it was ready; the text is the end of its log."""


class Process:
    """`python -m stemdrop <arguments>` with exactly these settings; its output goes to `log`, appended.

    It runs in `cwd` (None: in the caller's folder), where it reads `.env` and what else has a relative path.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        cwd: Path | None = None,
    ) -> None:
        self.arguments = tuple(arguments)
        self._environment = {"PYTHONPATH": str(_ROOT), **environment}
        self._cwd = cwd
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """Its process id; only of a started one."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """As the system reports it: negative for a signal; None while it runs."""
        return self._process.poll() if self._process else None

    def output(self) -> str:
        """What this run has written so far."""
        return self.log.read_bytes()[self._log_start :].decode(errors="replace") if self.log.exists() else ""

    def start(self) -> None:
        """Start it; `wait_for` says when it is ready."""
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process = self._spawn()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid())]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                # -P: what lies in its folder is data, never a module
                [*command, sys.executable, "-P", "-m", "stemdrop", *self.arguments],
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def wait_for(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Wait until this run's output has matched `times` times; returns the last match.

        Raises `ProcessFailedError` when it ends before, or is not there in a minute.
        """
        deadline = asyncio.get_running_loop().time() + _READY_TIMEOUT_S
        while True:
            found = list(re.finditer(pattern, self.output()))
            if len(found) >= times:
                return found[times - 1]
            if not self.is_running or asyncio.get_running_loop().time() > deadline:
                state = "is not ready" if self.is_running else f"ended with {self.exit_code}"
                raise ProcessFailedError(f"stemdrop {self.arguments[0]} {state}:\n{self.output()[-2000:]}")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def wait(self, timeout_s: float) -> int:
        """Wait for its end; returns the exit code. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while (code := self.exit_code) is None:  # noqa: ASYNC110 - a process sets no event
                await asyncio.sleep(_LOOK_EVERY_S)
        return code

    async def stop(self, timeout_s: float = 40) -> int | None:
        """SIGTERM, and SIGKILL to what does not end in time; returns the exit code, None if never started."""
        if self._process is None:
            return None
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
            try:
                return await self.wait(timeout_s)
            except TimeoutError:
                self.kill()
        return await self.wait(5)

    def kill(self) -> None:
        """SIGKILL: no chance to say anything."""
        if self._process and self.is_running:
            self._process.kill()
            self._process.wait()
