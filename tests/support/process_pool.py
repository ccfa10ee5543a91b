"""Processes of the product that start at once, because they are forked from one that has imported it already.

They are real: each has its own process, session and log, and ends by real signals. How the program starts
from nothing is tested by `tests/journeys/test_sandbox_command.py`. Run as a program, this file is the process
from which they are forked: it accepts connections on its standard input, reads an order per line of JSON from
each, and answers with the process ids of its children and with their exit codes.
"""

import atexit
import ctypes
import gc
import importlib
import itertools
import json
import mimetypes
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from library_costs import load_locales, reduce_library_costs

from sandbox.environment.local_environment import LocalEnvironment
from sandbox.environment.process import Process
from stemdrop.cli import skip_unused_imports

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parent.parent
_POLL_INTERVAL_S = 0.005
# The product imports these only after its start.
_IMPORTED_LATER = (
    *("anyio._backends._asyncio", "av.subtitles.stream", "docket.tasks", "encodings.cp437", "encodings.idna"),
    *("pydantic.v1", "stemdrop.tasks.docket_guards", "uvicorn.lifespan.off", "worker.audio.mixdown"),
    *("worker.audio.rhythm", "worker.audio.silence", "worker.audio.song_meter", "worker.audio.tonality"),
)
_PR_SET_PDEATHSIG = 1  # prctl(2)


class ProcessPool:
    """The process from which others are forked; any number of test processes may connect to it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pool-")
        self.address = f"{self._folder.name}/socket"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.address)
            listening.listen(64)
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__],
                env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": f"{_ROOT}:{_HERE}"},
                stdin=listening.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

    def close(self) -> None:
        """End the process and all of its children."""
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()


class _Elsewhere:
    """The pool that forked this process."""

    def __init__(self, address: str) -> None:
        self.address = address


class _Connection:
    """This test process's connection to a pool."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address)
        self._received = b""
        self._started: list[int] = []
        self._exit_codes: dict[int, int] = {}  # of numbers: process ids come again
        self._numbers = itertools.count(1)

    def start(self, order: Mapping[str, Any]) -> tuple[int, int]:
        """Fork a process; returns its number in this connection and its process id."""
        number = next(self._numbers)
        self._socket.sendall(json.dumps({**order, "number": number}).encode() + b"\n")
        while not self._started:
            self._receive(block=True)
        return number, self._started.pop()

    def exit_code(self, number: int) -> int | None:
        """Return the exit code as `subprocess` has it, None while the process of this number runs."""
        self._receive(block=False)
        return self._exit_codes.get(number)

    def _receive(self, *, block: bool) -> None:
        self._socket.setblocking(block)
        try:
            received = self._socket.recv(65536)
        except BlockingIOError:
            return
        if not received:
            raise RuntimeError("the process pool has died")
        *lines, self._received = (self._received + received).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "started" in message:
                self._started.append(message["started"])
            else:
                self._exit_codes[message["ended"]] = message["code"]


_pool: ProcessPool | _Elsewhere | None = None
_connections: dict[int, _Connection] = {}


@contextmanager
def serve_process_pool() -> Iterator[None]:
    """Start a pool for this process and those that it forks."""
    global _pool  # noqa: PLW0603 - one for all test processes
    _pool = pool = ProcessPool()
    try:
        yield
    finally:
        pool.close()
        _pool = None


def _connection() -> _Connection:
    global _pool  # noqa: PLW0603 - one for all test processes
    if _pool is None:
        _pool = pool = ProcessPool()
        atexit.register(pool.close)
    if os.getpid() not in _connections:
        _connections[os.getpid()] = _Connection(_pool.address)
    return _connections[os.getpid()]


class _Child:
    """The part of `subprocess.Popen` that `sandbox.environment.process.Process` needs."""

    def __init__(self, connection: _Connection, order: Mapping[str, Any]) -> None:
        self._pool = connection
        self._number, self.pid = self._pool.start(order)

    def poll(self) -> int | None:
        return self._pool.exit_code(self._number)

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(_POLL_INTERVAL_S)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkedProcess(Process):
    """`python -m stemdrop <arguments>`, forked."""

    forks_its_own = False  # whether the processes of a sandbox that it runs are forked, too

    def _spawn(self) -> Any:
        connection = _connection()
        return _Child(
            connection,
            {
                "argv": ["stemdrop", *self.arguments],
                # with one certificate authority: loading all of them takes half of a start
                "env": {"SSL_CERT_FILE": os.environ.get("SSL_CERT_FILE", ""), **self._environment},
                "cwd": str(self._cwd or Path.cwd()),
                "log": str(self.log),
                "pool": connection.address if self.forks_its_own else "",
            },
        )


class ForkingProcess(ForkedProcess):
    """A forked `stemdrop sandbox` whose own processes are forked, too."""

    forks_its_own = True


# From here on: the process from which others are forked.


class _Server:
    """Forks processes for its clients and tells each client how its processes have ended."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, bytes] = {}
        self._client_of: dict[int, tuple[socket.socket, int]] = {}  # and the number that it gave the process
        self._wakeup, self._signalled = socket.socketpair()

    def run(self) -> None:
        """Serve until a signal ends the process."""
        for end in (self._wakeup, self._signalled):
            end.setblocking(False)
        # SIGCHLD arrives as a byte, so that none is lost between two calls of `select`.
        signal.set_wakeup_fd(self._signalled.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for connection in (self._listening, self._wakeup):
            self._selector.register(connection, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listening:
                    client, _ = self._listening.accept()
                    self._received[client] = b""
                    self._selector.register(client, selectors.EVENT_READ)
                elif key.fileobj is self._wakeup:
                    self._wakeup.recv(4096)
                    self._report_ended()
                else:
                    self._read(key.fileobj)  # type: ignore[arg-type]

    def _read(self, client: socket.socket) -> None:
        try:
            received = client.recv(65536)
        except ConnectionError:
            received = b""
        if not received:
            self._close(client)
            return
        *lines, self._received[client] = (self._received[client] + received).split(b"\n")
        for line in lines:
            order = json.loads(line)
            pid = os.fork()
            if pid == 0:
                self._become_child(order)
            self._client_of[pid] = client, order["number"]
            self._send(client, {"started": pid})

    def _report_ended(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._client_of:
                client, number = self._client_of.pop(pid)
                self._send(client, {"ended": number, "code": os.waitstatus_to_exitcode(status)})

    def _send(self, client: socket.socket, message: Mapping[str, int]) -> None:
        with suppress(OSError):  # the client has gone
            client.sendall(json.dumps(message).encode() + b"\n")

    def _close(self, client: socket.socket) -> None:
        """End the processes of a client that has gone."""
        self._selector.unregister(client)
        client.close()
        del self._received[client]
        for pid in [pid for pid, (owner, _) in self._client_of.items() if owner is client]:
            del self._client_of[pid]
            os.kill(pid, signal.SIGKILL)

    def _become_child(self, order: Mapping[str, Any]) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # a suite that runs in the background ignores Ctrl-C, and its processes would inherit that
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        for end in (self._listening, self._wakeup, self._signalled, *self._received):
            end.close()
        _run_order(order)


def _serve() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    skip_unused_imports()
    for name in (
        "stemdrop.serve",
        *("bot.run", "webhook.run", "worker.run"),
        "separator.command",
        "sandbox.command",
        *_IMPORTED_LATER,
    ):
        importlib.import_module(name)
    load_locales()
    mimetypes.init()
    reduce_library_costs()
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)
    _Server(socket.socket(fileno=os.dup(0))).run()


def _run_order(order: Mapping[str, Any]) -> None:
    code = 1
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        with open(os.devnull, "rb") as nothing, open(order["log"], "ab") as log:
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["env"])
        tempfile.tempdir = None  # it may be set already, from the parent's TMPDIR
        sys.argv = list(order["argv"])
        if order["pool"]:
            _fork_from(order["pool"])
        code = _run(sys.argv[1:])
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _fork_from(address: str) -> None:
    """Let this process's own sandbox fork its processes from the pool at the address."""
    global _pool  # noqa: PLW0603 - one for all of this process
    _pool = _Elsewhere(address)
    LocalEnvironment.__init__.__kwdefaults__["process"] = ForkedProcess  # type: ignore[index]


def _run(arguments: Sequence[str]) -> int:
    from stemdrop.cli import run

    if {"STEMDROP_DIE_AT", "STEMDROP_POINTS"} & os.environ.keys():
        from kill_points import install_kill_points

        install_kill_points()
    return run(arguments, os.environ)


if __name__ == "__main__":
    _serve()
