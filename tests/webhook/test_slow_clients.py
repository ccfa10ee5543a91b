"""The webhook's server closes the connections of those who do not come to the point, and nobody else's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from product import until
from starlette.types import Receive, Scope, Send

from sandbox.environment.server import serve
from webhook.slow_clients import HeaderTimeoutProtocol

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without looking at the body, as a route does that is shown a forged token."""
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


class Server:
    """What a test sees of it."""

    def __init__(self, port: int, protocols: list[HeaderTimeoutProtocol]) -> None:
        self.port, self.protocols = port, protocols

    async def connect(self) -> Streams:
        return await asyncio.open_connection("127.0.0.1", self.port)

    @property
    def is_waiting(self) -> bool:
        """Whether the clock of the only connection runs."""
        (protocol,) = self.protocols
        return protocol.is_waiting


@asynccontextmanager
async def running(app: Callable[..., Awaitable[None]], patience: float) -> AsyncIterator[Server]:
    made: list[HeaderTimeoutProtocol] = []

    class Protocol(HeaderTimeoutProtocol):
        patience_s = patience

        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            made.append(self)

    async def on_requests(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await app(scope, receive, send)

    async with serve(on_requests, protocol=Protocol) as url, asyncio.timeout(20):
        yield Server(urlsplit(url).port or 0, made)


async def answer(streams: Streams) -> bytes:
    """The answer's status and body."""
    head = await streams[0].readuntil(b"\r\n\r\n")
    return head.split(b" ")[1] + b" " + await streams[0].readexactly(2)


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of what comes."""
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("sent", [b"", b"G", HEAD[:-2]], ids=["nothing", "a byte", "all but its end"])
async def test_who_sends_no_whole_head_is_left(sent: bytes) -> None:
    async with running(refuse, 0.02) as server:
        reader, writer = await server.connect()
        writer.write(sent)
        assert await is_closed(reader)
        writer.close()


async def test_more_bytes_of_a_head_do_not_buy_more_time() -> None:
    async with running(refuse, 0.5) as server:
        reader, writer = await server.connect()
        ended = asyncio.create_task(is_closed(reader))
        writer.write(b"GET / HTTP/1.1\r\n")
        while not ended.done():
            writer.write(b"A: b\r\n")
            await asyncio.wait({ended}, timeout=0.005)
        assert ended.result()
        writer.close()


async def test_what_is_left_of_a_refused_body_is_not_taken_for_ever() -> None:
    async with running(refuse, 0.5) as server:
        reader, writer = await server.connect()
        writer.write(POST)
        assert await answer((reader, writer)) == b"403 no"
        ended = asyncio.create_task(is_closed(reader))
        while not ended.done():
            writer.write(b" ")  # fewer by far than the 1000
            await asyncio.wait({ended}, timeout=0.005)
        assert ended.result()
        writer.close()


async def test_a_connection_at_rest_is_left_to_the_usual_clock() -> None:
    async with running(refuse, 60) as server:
        streams = await server.connect()
        await until(lambda: server.protocols)
        assert server.is_waiting
        for _ in range(3):
            streams[1].write(HEAD)
            assert await answer(streams) == b"403 no"
            assert not server.is_waiting
            assert server.protocols[0].timeout_keep_alive_task
        streams[1].write(b"G")
        await until(lambda: server.is_waiting)
        streams[1].write(HEAD[1:])
        assert await answer(streams) == b"403 no"
        assert not server.is_waiting
        streams[1].close()


async def test_who_sends_the_rest_of_a_refused_body_may_go_on() -> None:
    async with running(refuse, 60) as server:
        streams = await server.connect()
        streams[1].write(POST)
        assert await answer(streams) == b"403 no"
        streams[1].write(bytes(999))
        await until(lambda: server.is_waiting)
        streams[1].write(bytes(1))
        await until(lambda: not server.is_waiting)
        assert server.protocols[0].timeout_keep_alive_task
        streams[1].write(HEAD)
        assert await answer(streams) == b"403 no"
        streams[1].close()


async def test_while_a_route_has_the_request_the_server_waits() -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        reached.set()
        await go.wait()
        await refuse(scope, receive, send)

    async with running(slow, 60) as server:
        streams = await server.connect()
        streams[1].write(POST)
        await reached.wait()
        assert not server.is_waiting
        streams[1].write(bytes(500))
        await asyncio.sleep(0)
        assert not server.is_waiting
        go.set()
        assert await answer(streams) == b"403 no"
        streams[1].close()


async def test_a_lost_connection_leaves_no_clock_behind() -> None:
    async with running(refuse, 60) as server:
        _, writer = await server.connect()
        writer.write(b"G")
        await until(lambda: server.protocols and server.is_waiting)
        writer.close()
        await until(lambda: not server.is_waiting)
