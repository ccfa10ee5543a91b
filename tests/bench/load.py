"""Requests as quickly as a server answers them, by a client that costs less than the server does."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from measure import percentile


@dataclass(frozen=True, slots=True)
class Answered:
    """All of them, with 200."""

    per_s: float
    p50_ms: float
    p99_ms: float

    def __str__(self) -> str:
        return f"{self.per_s:.0f}/s; p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms"


def post(path: str, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def fire(requests: Sequence[bytes], ports: Sequence[int], connections: int) -> Answered:
    """Send each once, over so many connections that stay open, shared evenly by the ports on loopback.

    Raises `RuntimeError` at any answer but 200.
    """
    waiting, took = iter(requests), list[float]()
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(connections):
            group.create_task(_send(waiting, ports[number % len(ports)], took))
    per_s = len(took) / (time.perf_counter() - started)
    return Answered(per_s, percentile(took, 0.5) * 1000, percentile(took, 0.99) * 1000)


async def _send(waiting: Iterator[bytes], port: int, took: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        for request in waiting:
            started = time.perf_counter()
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
            took.append(time.perf_counter() - started)
            if head.split()[1] != "200":
                raise RuntimeError(head)
