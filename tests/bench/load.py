"""Requests as quickly as a server answers them, by a client that costs little: they share the cores."""

import select
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from measure import percentile


@dataclass(frozen=True, slots=True)
class Answered:
    """So many a second, and how long each took."""

    per_s: float
    took_s: Sequence[float]

    def percentile_ms(self, part: float) -> float:
        return percentile(self.took_s, part) * 1000

    def __str__(self) -> str:
        return (
            f"{self.per_s:.0f}/s; p50 {self.percentile_ms(0.5):.1f} ms, p99 {self.percentile_ms(0.99):.1f} ms"
        )


def post(path: str, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def fire(
    requests: Iterable[bytes],
    ports: Sequence[int],
    connections: int,
    *,
    status: int = 200,
    per_s: float = 0.0,
) -> Answered:
    """Send each once, over so many connections that stay open, shared evenly by the ports on loopback.

    With `per_s` one is sent at each tick of the clock, and the time that it waits for a free connection
    counts. Raises `RuntimeError` at any answer but this status.
    """
    waiting, took = iter(requests), list[float]()
    poll, clients = select.epoll(), dict[int, _Client]()
    for number in range(connections):
        client = _Client(ports[number % len(ports)], status)
        clients[client.fileno] = client
        poll.register(client.fileno, select.EPOLLIN)
    started = time.perf_counter()
    if per_s:
        _at_ticks(waiting, deque(clients.values()), poll, clients, took, 1 / per_s)
    else:
        for client in clients.values():
            client.send_next(waiting)
        while any(client.is_busy for client in clients.values()):
            for fileno, _ in poll.poll():
                if clients[fileno].receive(took):
                    clients[fileno].send_next(waiting)
    seconds = time.perf_counter() - started
    for client in clients.values():
        client.close()
    poll.close()
    return Answered(len(took) / seconds, took)


def _at_ticks(
    waiting: Iterator[bytes],
    free: deque["_Client"],
    poll: select.epoll,
    clients: dict[int, "_Client"],
    took: list[float],
    every_s: float,
) -> None:
    # all in turn: the server would close a connection that is not used
    next_at, request = time.perf_counter(), next(waiting, None)
    while request is not None or len(free) < len(clients):
        if request is not None and free and time.perf_counter() >= next_at:
            free.popleft().send(request, next_at)
            next_at, request = next_at + every_s, next(waiting, None)
            continue
        wait_s = max(0.0, next_at - time.perf_counter()) if request is not None and free else None
        for fileno, _ in poll.poll(wait_s):
            if clients[fileno].receive(took):
                free.append(clients[fileno])


@dataclass(slots=True)
class _Client:
    """One connection, with at most one request on its way."""

    port: int
    status: int
    is_busy: bool = False
    _started: float = 0.0
    _received: bytes = b""
    _socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def fileno(self) -> int:
        return self._socket.fileno()

    def send_next(self, waiting: Iterator[bytes]) -> None:
        if (request := next(waiting, None)) is not None:
            self.send(request, time.perf_counter())

    def send(self, request: bytes, started: float) -> None:
        self._started, self._received, self.is_busy = started, b"", True
        self._socket.sendall(request)

    def receive(self, took: list[float]) -> bool:
        """Read what is there; whether the answer is complete."""
        more = self._socket.recv(65536)
        self._received += more
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(maxsplit=1)[:1]
        if not more or (end and (not length or int(head[9:12]) != self.status)):
            raise RuntimeError(f"{self.status} was expected: {self._received[:500]!r}")
        if not end or len(body) < int(length[0]):
            return False
        took.append(time.perf_counter() - self._started)
        self.is_busy = False
        return True

    def close(self) -> None:
        self._socket.close()
