"""Processes of the product that start at once: forked from one that has imported it already.

They are as real as others: own process, own session, own log, ended by real signals. How the program starts
from nothing is for `tests/stemdrop/test_cli.py`. Run as a program this file is the parent of all: it reads
orders, a JSON a line, on its standard input, and writes there which of its children has ended how.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.environment.process import Process

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parent.parent
_LOOK_EVERY_S = 0.005
_PR_SET_PDEATHSIG = 1  # prctl(2)


class ProcessPool:
    """Where children of one test process come from."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._parent = subprocess.Popen(
                [sys.executable, "-P", __file__],
                env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": f"{_ROOT}:{_HERE}"},
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket = ours
        self._said = b""
        self._born: list[int] = []
        self._ended: dict[int, int] = {}

    def bear(self, order: Mapping[str, Any]) -> int:
        """A new child; returns its process id."""
        self._socket.sendall(json.dumps(order).encode() + b"\n")
        while not self._born:
            self._listen(block=True)
        return self._born.pop()

    def exit_code(self, pid: int) -> int | None:
        """As `subprocess` has it; None while it runs."""
        self._listen(block=False)
        return self._ended.get(pid)

    def close(self) -> None:
        """Ends whatever still runs."""
        self._socket.close()
        self._parent.wait()

    def _listen(self, *, block: bool) -> None:
        self._socket.setblocking(block)
        try:
            heard = self._socket.recv(65536)
        except BlockingIOError:
            return
        if not heard:
            raise RuntimeError("the parent of the product's processes has died")
        *lines, self._said = (self._said + heard).split(b"\n")
        for line in lines:
            news = json.loads(line)
            if "born" in news:
                self._born.append(news["born"])
            else:
                self._ended[news["ended"]] = news["code"]


_nursery: ProcessPool | None = None


def process_pool() -> ProcessPool:
    """This test process's, begun when it is needed."""
    global _nursery  # noqa: PLW0603 - one for all worlds of the process
    if _nursery is None:
        _nursery = ProcessPool()
        atexit.register(_nursery.close)
    return _nursery


class _Child:
    """What `sandbox.environment.process.Process` needs of a `subprocess.Popen`."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._nursery = process_pool()
        self.pid = self._nursery.bear(order)

    def poll(self) -> int | None:
        return self._nursery.exit_code(self.pid)

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(_LOOK_EVERY_S)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkedProcess(Process):
    """`python -m stemdrop <arguments>`, forked."""

    def _spawn(self) -> Any:
        return _Child(
            {
                "argv": ["stemdrop", *self.arguments],
                "env": dict(self._environment),
                "cwd": str(self._cwd or Path.cwd()),
                "log": str(self.log),
            }
        )


# The parent


def _be_parent() -> None:
    for name in ("stemdrop.cli", "stemdrop.serve"):
        importlib.import_module(name)
    gc.freeze()
    # a signal must not be lost between two looks, so it comes as a byte
    ears, mouth = socket.socketpair()
    for end in (ears, mouth):
        end.setblocking(False)
    signal.set_wakeup_fd(mouth.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    orders = socket.socket(fileno=os.dup(0))
    said = b""
    while True:
        ready, _, _ = select.select([orders, ears], [], [])
        if ears in ready:
            ears.recv(4096)
            _tell_ends(orders)
        if orders in ready:
            heard = orders.recv(65536)
            if not heard:
                return
            *lines, said = (said + heard).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for end in (orders, ears, mouth):
                        end.close()
                    _be_child(json.loads(line))
                orders.sendall(json.dumps({"born": pid}).encode() + b"\n")


def _tell_ends(orders: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        orders.sendall(json.dumps({"ended": pid, "code": code}).encode() + b"\n")


def _be_child(order: Mapping[str, Any]) -> None:
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
        tempfile.tempdir = None  # it may be known already, by the parent's TMPDIR
        sys.argv = list(order["argv"])
        code = _run(sys.argv[1:])
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(arguments: Sequence[str]) -> int:
    from stemdrop.cli import run

    if {"STEMDROP_DIE_AT", "STEMDROP_POINTS"} & os.environ.keys():
        from kill_points import make_mortal

        make_mortal()
    return run(arguments, os.environ)


if __name__ == "__main__":
    _be_parent()
