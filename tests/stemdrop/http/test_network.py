"""Connections over asyncio's transports, with and without TLS, to servers that behave and that do not."""

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpcore
import pytest
from certificates import Certificates
from waits import WAIT_S

from stemdrop.http.network import BUFFER_BYTES, AsyncioBackend

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

MUCH = bytes(range(256)) * 40_000  # more than the system's buffers of a connection hold


@pytest.fixture(params=["plain", "tls"])
def certificates(request: pytest.FixtureRequest, tmp_path: Path) -> Certificates | None:
    return Certificates(tmp_path) if request.param == "tls" else None


@asynccontextmanager
async def connection(
    serve: Serve, certificates: Certificates | None
) -> AsyncIterator[httpcore.AsyncNetworkStream]:
    """Yield a connection to a server that handles it by `serve`."""
    running: list[asyncio.Task[None]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.append(asyncio.ensure_future(handle(reader, writer)))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            taken = writer.get_extra_info("socket")
            writer.transport.abort()
            while taken.fileno() >= 0:  # noqa: ASYNC110 - it is closed in the next steps of the loop
                await asyncio.sleep(0)

    tls = certificates.server("webhook") if certificates else None
    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    stream = await AsyncioBackend().connect_tcp(
        "127.0.0.1", server.sockets[0].getsockname()[1], timeout=WAIT_S
    )
    if certificates:
        context = ssl.create_default_context(cafile=str(certificates.authority))
        stream = await stream.start_tls(context, "127.0.0.1", timeout=WAIT_S)
    try:
        yield stream
    finally:
        await stream.aclose()
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def read(stream: httpcore.AsyncNetworkStream, size: int) -> bytes:
    found = bytearray()
    while len(found) < size and (data := await stream.read(1, timeout=WAIT_S)):
        found += data
    return bytes(found)


async def write(
    stream: httpcore.AsyncNetworkStream, data: bytes, times: int = 1, timeout_s: float = WAIT_S
) -> None:
    for _ in range(times):
        for start in range(0, len(data), BUFFER_BYTES):
            await stream.write(data[start : start + BUFFER_BYTES], timeout=timeout_s)


async def test_much_passes_whole_in_both_directions(certificates: Certificates | None) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(len(MUCH)))
        await writer.drain()
        await reader.read()

    async with connection(echo, certificates) as stream:
        assert not stream.get_extra_info("is_readable")
        assert bool(stream.get_extra_info("ssl_object")) is bool(certificates)
        await write(stream, MUCH)
        assert await read(stream, len(MUCH)) == MUCH


async def test_what_is_not_read_is_not_received(certificates: Certificates | None) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(1000):
            writer.write(bytes(BUFFER_BYTES))
            await writer.drain()
            sent += BUFFER_BYTES

    async with connection(pour, certificates) as stream:
        before = 0
        while before != sent or not sent:
            before = sent
            await asyncio.sleep(0.1)
        assert 0 < sent < 1000 * BUFFER_BYTES
        assert len(await read(stream, 50 * BUFFER_BYTES)) >= 50 * BUFFER_BYTES


async def test_the_end_comes_after_what_was_sent_before_it(certificates: Certificates | None) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"too much")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with connection(answer, certificates) as stream:
        assert await read(stream, len(MUCH)) == b"too much"
        assert stream.get_extra_info("is_readable")
        with pytest.raises(httpcore.WriteError):
            await write(stream, MUCH, 10, timeout_s=5)


async def test_a_broken_connection_is_told_in_httpcores_words(certificates: Certificates | None) -> None:
    async def abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # what is left unread makes the system reset the connection

    async with connection(abort, certificates) as stream:
        with pytest.raises(httpcore.WriteError):
            await write(stream, MUCH, 10, timeout_s=5)


async def test_a_silent_server_is_waited_for_so_long(certificates: Certificates | None) -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with connection(wait, certificates) as stream:
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(1, timeout=0.01)
        with pytest.raises(httpcore.WriteTimeout):
            await write(stream, MUCH, 10, timeout_s=0.01)


async def test_a_server_that_ends_tls_and_takes_no_more_keeps_no_connection_open(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    context = ssl.create_default_context(cafile=str(certificates.authority))

    def accept() -> ssl.SSLSocket:
        return certificates.server("webhook").wrap_socket(listening.accept()[0], server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = asyncio.create_task(asyncio.to_thread(accept))
        plain = await AsyncioBackend().connect_tcp("127.0.0.1", listening.getsockname()[1], timeout=WAIT_S)
        stream = await plain.start_tls(context, "127.0.0.1", timeout=WAIT_S)
        with await accepting as server:
            with pytest.raises(httpcore.WriteTimeout):
                await write(stream, MUCH, 10, timeout_s=0.05)
            with suppress(ssl.SSLError):  # it waits for our end, and finds what we have written
                await asyncio.to_thread(server.unwrap)
            assert await stream.read(1, timeout=WAIT_S) == b""
            await stream.aclose()
            await asyncio.sleep(0)
            assert plain.get_extra_info("socket").fileno() == -1


async def test_a_server_that_is_not_there_cannot_be_connected_to() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    with pytest.raises(httpcore.ConnectError):
        await AsyncioBackend().connect_tcp("127.0.0.1", port, timeout=WAIT_S)


async def test_a_server_that_speaks_no_tls_or_nothing_is_no_server(tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(Certificates(tmp_path).authority))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with connection(answer, None) as stream:
        with pytest.raises(httpcore.ConnectError):
            await stream.start_tls(context, "127.0.0.1", timeout=WAIT_S)

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async with connection(close, None) as stream:
        assert await stream.read(1, timeout=WAIT_S) == b""
        with pytest.raises(httpcore.ConnectError):
            await stream.start_tls(context, "127.0.0.1", timeout=WAIT_S)
    async with connection(wait, None) as stream:
        with pytest.raises(httpcore.ConnectTimeout):
            await stream.start_tls(context, "127.0.0.1", timeout=0.01)


async def test_a_stream_has_no_socket_when_it_is_closed(certificates: Certificates | None) -> None:
    """Also with data that the server does not take; the loop may end at once."""

    is_accepted = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_accepted.set()
        await asyncio.sleep(60)

    for data in (b"", MUCH):
        is_accepted.clear()
        async with connection(serve, certificates) as stream:
            await is_accepted.wait()
            socket = stream.get_extra_info("socket")
            with suppress(httpcore.WriteTimeout):
                await stream.write(data, timeout=0.05)
            await stream.aclose()
            assert socket.fileno() == -1


async def test_a_connection_that_is_cancelled_at_any_step_leaves_no_socket() -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for steps in range(16):
        connecting = asyncio.create_task(AsyncioBackend().connect_tcp("127.0.0.1", port))
        for _ in range(steps):
            await asyncio.sleep(0)
        connecting.cancel()
        with suppress(asyncio.CancelledError):
            await (await connecting).aclose()
    await asyncio.sleep(0.01)
    server.close()
    gc.collect()  # tells what was left open


@pytest.mark.parametrize("host", ["a..example", ".example", f"{'a' * 64}.example"])
async def test_a_host_that_no_lookup_takes_is_no_connection(host: str) -> None:
    with pytest.raises(httpcore.ConnectError):
        await AsyncioBackend().connect_tcp(host, 443, timeout=WAIT_S)


async def test_tls_that_cannot_name_its_host_is_no_connection() -> None:
    """A proxy has looked the host up."""

    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    for host in ("a..example", ".example"):
        async with connection(wait, None) as stream:
            with pytest.raises(httpcore.ConnectError):
                await stream.start_tls(ssl.create_default_context(), host, timeout=WAIT_S)
