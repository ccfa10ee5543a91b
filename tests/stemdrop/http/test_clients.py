"""Our HTTP clients raise httpx's exceptions, which their callers handle."""

import asyncio
import inspect

import httpcore
import httpx
import pytest

from sandbox.environment.ports import free_port
from stemdrop.http.clients import _errors_of_httpx, client_options
from stemdrop.http.proxies import DIRECT

ERRORS = [
    kind
    for _, kind in inspect.getmembers(httpcore, inspect.isclass)
    if issubclass(kind, Exception) and kind is not httpcore.ConnectionNotAvailable  # it stays in httpcore
]


@pytest.mark.parametrize("kind", ERRORS)
def test_each_error_of_httpcore_becomes_that_of_httpx(kind: type[Exception]) -> None:
    with pytest.raises(getattr(httpx, kind.__name__), match="why"), _errors_of_httpx():
        raise kind("why")


async def test_a_server_that_is_away_and_a_body_that_breaks_off_are_errors_of_httpx() -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        writer.close()

    async with (
        await asyncio.start_server(break_off, "127.0.0.1", 0) as server,
        httpx.AsyncClient(**client_options(DIRECT)) as http,
    ):
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(httpx.ConnectError):
            await http.get(f"http://127.0.0.1:{free_port()}")
        async with http.stream("GET", f"http://127.0.0.1:{port}") as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()
