"""The separator's own download of a song."""

import asyncio
from pathlib import Path

import httpx
import pytest
from cancelling import endlessly, open_files, written_and_cancelled
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from waits import WAIT_S

from sandbox.environment.server import serve
from separator.source import fetch


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_download_is_repeated_after_its_server_was_killed(tmp_path: Path, sent: bytes) -> None:
    """A killed process closes its connections in the ordinary way."""
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"
        writer.write(sent if asked == 1 else whole)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/song"
    async with server, httpx.AsyncClient() as client:
        await fetch(client, url, tmp_path / "source", 100, WAIT_S, (0,))
    assert ((tmp_path / "source").read_bytes(), asked) == (b"whole", 2)


async def test_a_cancelled_download_closes_its_file(tmp_path: Path) -> None:
    async def endless(_: Request) -> StreamingResponse:
        return StreamingResponse(endlessly(bytes(100_000)))

    path = tmp_path / "source"
    async with serve(Starlette(routes=[Route("/song", endless)])) as url, httpx.AsyncClient() as client:
        fetching = asyncio.create_task(fetch(client, f"{url}/song", path, 10**9, 600))
        await written_and_cancelled(fetching, path)
        assert open_files(path) == []
