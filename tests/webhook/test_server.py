"""The server of `stemdrop webhook`: idle connections, slow clients, and the limit of requests in progress."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from product import until
from starlette.types import ASGIApp, Receive, Scope, Send

from stemdrop.settings import load_settings
from webhook.connection_limits import MAX_HEADER_BYTES, MAX_HEADERS, MAX_PIPELINED, HeaderTimeoutProtocol
from webhook.run import build_server, listen

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = (
    b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n"
    % len(HEAD)
)
SETTINGS = {
    "TELEGRAM_BOT_TOKEN": "7000000001:AAabc",
    "SEPARATION_API_KEY": "key",
    "SECRET_KEY": "secret",
    "LISTEN_HOST": "127.0.0.1",
    "LISTEN_PORT": "0",
}


class Client:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str]]:
        """Read one answer with a body of two bytes; returns its status and headers."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)
        }
        await self._reader.readexactly(int(headers["content-length"]))
        return int(lines[0].split()[1]), headers

    async def status(self) -> int:
        return (await self.answer())[0]

    async def closed(self) -> bool:
        """Wait until the server closes the connection."""
        try:
            return await self._reader.read() == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._writer.transport.abort()


class Server:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.protocols: list[HeaderTimeoutProtocol] = []
        self.received = 0
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.clients[-1]

    async def get(self) -> tuple[int, dict[str, str]]:
        """Send a GET request over a new connection, which stays open."""
        client = await self.connect()
        client.send(HEAD)
        return await client.answer()


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without reading the body, like a route that gets a forged token."""
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


class Held:
    """An app that answers when the test says so."""

    def __init__(self) -> None:
        self.running = 0
        self.go = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.running += 1
        await self.go.wait()
        await refuse(scope, receive, send)


@asynccontextmanager
async def running(
    app: ASGIApp, *, header_timeout: float = 60, connections: int = 100, requests: int = 100
) -> AsyncIterator[Server]:
    listening = listen(load_settings(SETTINGS))
    server = Server(listening.getsockname()[1])

    class Protocol(HeaderTimeoutProtocol):
        header_timeout_s = header_timeout
        max_connections = connections

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            server.protocols.append(self)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            server.received += len(data)

    built = build_server(app, max_requests=requests, protocol=Protocol)
    serving = asyncio.create_task(built.serve(sockets=[listening]))
    async with asyncio.timeout(120):
        await until(lambda: built.started)
        yield server
        built.should_exit = True
        for client in server.clients:
            client.close()
        await serving


async def test_idle_connections_do_not_count_as_requests() -> None:
    async with running(refuse, requests=5) as server:
        for _ in range(20):
            assert (await server.get())[0] == 403  # and stays open


async def test_requests_beyond_the_limit_are_told_to_come_again() -> None:
    held = Held()
    async with running(held, requests=3) as server:
        waiting = [asyncio.create_task(server.get()) for _ in range(3)]
        await until(lambda: held.running == 3)
        status, headers = await server.get()
        assert (status, headers["retry-after"]) == (503, "5")
        held.go.set()
        assert [status for status, _ in await asyncio.gather(*waiting)] == [403] * 3
        assert (await server.get())[0] == 403


async def test_a_request_whose_client_hangs_up_no_longer_counts() -> None:
    held = Held()
    async with running(held, requests=1) as server:
        client = await server.connect()
        client.send(HEAD)
        await until(lambda: held.running)
        client.close()
        held.go.set()
        await until(lambda: not server.protocols[0].tasks)
        assert (await server.get())[0] == 403


async def test_too_many_connections_close_the_oldest_idle_one() -> None:
    async with running(refuse, connections=3) as server:
        silent, *kept = [await server.connect() for _ in range(3)]
        await until(lambda: len(server.protocols) == 3)
        assert (await server.get())[0] == 403
        assert await silent.closed()
        for client in kept:
            client.send(HEAD)
            assert await client.status() == 403


async def test_connections_with_requests_in_progress_are_never_closed() -> None:
    held = Held()
    async with running(held, connections=2) as server:
        waiting = [asyncio.create_task(server.get()) for _ in range(2)]
        await until(lambda: held.running == 2)
        assert await (await server.connect()).closed()
        held.go.set()
        assert [status for status, _ in await asyncio.gather(*waiting)] == [403] * 2
        assert (await server.get())[0] == 403  # the other two are idle now


@pytest.mark.parametrize("sent", [b"", b"G", HEAD[:-2]], ids=["nothing", "one byte", "all but its end"])
async def test_an_incomplete_header_is_cut_off(sent: bytes) -> None:
    async with running(refuse, header_timeout=0.02) as server:
        client = await server.connect()
        client.send(sent)
        assert await client.closed()


@pytest.mark.parametrize("start", [HEAD[:-2] + b"A: ", b"GET /"], ids=["a value", "a path"])
async def test_a_header_without_end_is_refused(start: bytes) -> None:
    await send_without_end(start, b"A" * 4096)


@pytest.mark.parametrize("end", [b"0\r\n", b"0\r\nA: ", b"1;"], ids=["trailers", "a trailer", "an extension"])
async def test_chunks_without_end_are_refused(end: bytes) -> None:
    await send_without_end(
        CHUNKED + b"1\r\na\r\n" + end, b"A:b\r\n" * 800 if end == b"0\r\n" else b"A" * 4096
    )


async def send_without_end(start: bytes, rest: bytes) -> None:
    """Send until the server, which answers 403 at once to a complete header, answers 400."""
    async with running(refuse) as server:
        client = await server.connect()
        client.send(start)
        if start.startswith(CHUNKED):
            assert await client.status() == 403
        answer = asyncio.create_task(client.status())
        while not answer.done():
            before = server.received
            client.send(rest)
            await until(lambda: answer.done() or server.received > before)  # noqa: B023
        assert answer.result() == 400
        assert await client.closed()
        assert server.received < 2 * MAX_HEADER_BYTES


async def test_trailers_are_no_headers_and_a_header_may_begin_with_the_end_of_a_body() -> None:
    headers: list[tuple[bytes, bytes]] = []
    held = Held()

    async def keep(scope: Scope, receive: Receive, send: Send) -> None:
        await held(scope, receive, send)
        headers.extend(scope["headers"])

    async with running(keep) as server:
        client = await server.connect()
        body = b"5000\r\n" + bytes(0x5000) + b"\r\n0\r\nX-Trailer: 1\r\n\r\n"
        client.send(CHUNKED + body + HEAD[:5])
        await until(lambda: server.received == len(CHUNKED + body) + 5)
        client.send(HEAD[5:])
        held.go.set()
        assert [await client.status() for _ in range(2)] == [403, 403]
        assert [name for name, _ in headers] == [b"host", b"transfer-encoding", b"host"]


async def test_a_wish_for_another_protocol_is_ignored() -> None:
    bodies: list[bytes] = []

    async def keep(scope: Scope, receive: Receive, send: Send) -> None:
        is_complete = False
        while not is_complete:
            message = await receive()
            bodies.append(message.get("body", b""))
            is_complete = not message.get("more_body")
        await refuse(scope, receive, send)

    async with running(keep) as server:
        client = await server.connect()
        for sent in (0, len(UPGRADE + HEAD)):
            client.send(UPGRADE)
            await until(lambda: server.received == sent + len(UPGRADE))  # noqa: B023
            client.send(HEAD)
            assert await client.status() == 403
        assert b"".join(bodies) == HEAD * 2


@pytest.mark.parametrize("start", [UPGRADE, b"CONNECT" + UPGRADE[4:]], ids=["an upgrade", "a tunnel"])
async def test_what_the_parser_takes_for_a_request_but_is_a_body_is_refused(start: bytes) -> None:
    async with running(refuse) as server:
        client = await server.connect()
        client.send(start[:9])
        await until(lambda: server.received)
        client.send(start[9:] + HEAD)
        assert await client.status() == 400
        assert await client.closed()


async def test_a_request_has_few_headers() -> None:
    async with running(refuse) as server:
        client = await server.connect()
        client.send(HEAD[:-2] + b"A: b\r\n" * MAX_HEADERS + b"\r\n")
        assert await client.status() == 400
        assert await client.closed()


async def test_few_requests_may_be_sent_before_the_first_answer() -> None:
    held = Held()
    async with running(held) as server:
        client = await server.connect()
        client.send(HEAD * (MAX_PIPELINED + 1))
        await until(lambda: held.running)
        held.go.set()
        assert [await client.status() for _ in range(MAX_PIPELINED + 1)] == [403] * (MAX_PIPELINED + 1)
        held.go.clear()
        client.send(HEAD * 1000)
        assert await client.status() == 400
        held.go.set()
        assert await client.closed()
        assert held.running < 2 * MAX_PIPELINED + 4


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n", POST], ids=["of a header", "of a refused body"])
async def test_more_bytes_do_not_extend_the_timeout(sent: bytes) -> None:
    async with running(refuse) as server:
        client = await server.connect()
        client.send(sent)
        if sent == POST:
            assert await client.status() == 403
        client.send(b"A: b\r\n")
        await until(lambda: server.received == len(sent) + 6)
        deadline = server.protocols[0].header_deadline
        assert deadline
        client.send(b"A: b\r\n")
        await until(lambda: server.received == len(sent) + 12)
        assert server.protocols[0].header_deadline == deadline


async def test_the_header_timeout_does_not_close_idle_connections() -> None:
    async with running(refuse) as server:
        client = await server.connect()
        await until(lambda: server.protocols)
        (protocol,) = server.protocols
        assert protocol.header_deadline
        for _ in range(3):
            client.send(HEAD)
            assert await client.status() == 403
            assert protocol.header_deadline is None
            assert protocol.timeout_keep_alive_task
        client.send(b"G")
        await until(lambda: protocol.header_deadline)
        client.send(HEAD[1:])
        assert await client.status() == 403
        assert protocol.header_deadline is None


async def test_a_connection_whose_refused_body_has_arrived_serves_further_requests() -> None:
    async with running(refuse) as server:
        client = await server.connect()
        client.send(POST)
        assert await client.status() == 403
        (protocol,) = server.protocols
        client.send(bytes(999))
        await until(lambda: protocol.header_deadline)
        client.send(bytes(1))
        await until(lambda: protocol.header_deadline is None)
        assert protocol.timeout_keep_alive_task
        client.send(HEAD)
        assert await client.status() == 403


async def test_the_header_timeout_does_not_run_while_a_route_handles_the_request() -> None:
    held = Held()
    async with running(held) as server:
        client = await server.connect()
        client.send(POST)
        await until(lambda: held.running)
        assert server.protocols[0].header_deadline is None
        client.send(bytes(500))
        await asyncio.sleep(0)
        assert server.protocols[0].header_deadline is None
        held.go.set()
        assert await client.status() == 403


async def test_a_lost_connection_stops_its_timer() -> None:
    async with running(refuse) as server:
        client = await server.connect()
        client.send(b"G")
        await until(lambda: server.protocols and server.protocols[0].header_deadline)
        client.close()
        await until(lambda: server.protocols[0].header_deadline is None)
