"""A process of stemdrop with its log in a file; it ends with the process that started it."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from sandbox.environment.parent_death import ends_with_parent

# The started process runs this code, whatever its working directory is.
_ROOT = Path(__file__).resolve().parents[2]
_READY_TIMEOUT_S = 60.0
_POLL_INTERVAL_S = 0.05


class ProcessFailedError(Exception):
    """A process ended before it was ready; the message is the end of its log."""


class Process:
    """`python -m stemdrop <arguments>` with only these variables, in `cwd`; its output goes to `log`.

    The process and its children hold the file descriptors `pass_fds`. To free these, the process is
    killed when its parent ends.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        cwd: Path | None = None,
        pass_fds: Collection[int] = (),
    ) -> None:
        self.arguments = tuple(arguments)
        self._pass_fds = pass_fds
        self._environment = {"PYTHONPATH": str(_ROOT), **environment}
        self._cwd = cwd
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError before `start`."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._process.poll() if self._process else None

    def output(self) -> str:
        return self.log.read_bytes()[self._log_start :].decode(errors="replace") if self.log.exists() else ""

    def start(self) -> None:
        """Start the process; `wait_for` waits until it is ready."""
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process = self._spawn()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        number = signal.SIGKILL if self._pass_fds else signal.SIGTERM
        with self.log.open("ab") as log:
            return subprocess.Popen(
                ends_with_parent(self._command(), number),
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self._pass_fds,
            )

    def _command(self) -> list[str]:
        # -P: files in the working directory are data, never modules
        return [sys.executable, "-P", "-m", "stemdrop", *self.arguments]

    async def wait_for(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Wait until this run's output has `times` matches of `pattern`; returns the last one.

        Raises `ProcessFailedError` when the process ends before that, and after a minute.
        """
        deadline = asyncio.get_running_loop().time() + _READY_TIMEOUT_S
        while True:
            found = list(re.finditer(pattern, self.output()))
            if len(found) >= times:
                return found[times - 1]
            if not self.is_running or asyncio.get_running_loop().time() > deadline:
                state = "is not ready" if self.is_running else f"ended with {self.exit_code}"
                raise ProcessFailedError(f"stemdrop {self.arguments[0]} {state}:\n{self.output()[-2000:]}")
            await asyncio.sleep(_POLL_INTERVAL_S)

    async def wait(self, timeout_s: float) -> int:
        """Wait for the end of the process; returns the exit code. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while (code := self.exit_code) is None:  # noqa: ASYNC110 - a process sets no event
                await asyncio.sleep(_POLL_INTERVAL_S)
        return code

    async def stop(self, timeout_s: float = 40) -> int | None:
        """Send SIGTERM, after `timeout_s` SIGKILL; returns the exit code, None if never started."""
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
        if self._process and self.is_running:
            self._process.kill()
            self._process.wait()
