"""The separator's own download of a song."""

import asyncio
from pathlib import Path

import httpx
from cancelling import endlessly, open_files, written_and_cancelled
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from sandbox.environment.server import serve
from separator.source import fetch


async def test_a_cancelled_download_closes_its_file(tmp_path: Path) -> None:
    async def endless(_: Request) -> StreamingResponse:
        return StreamingResponse(endlessly(bytes(100_000)))

    path = tmp_path / "source"
    async with serve(Starlette(routes=[Route("/song", endless)])) as url, httpx.AsyncClient() as client:
        fetching = asyncio.create_task(fetch(client, f"{url}/song", path, 10**9, 600))
        await written_and_cancelled(fetching, path)
        assert open_files(path) == []
