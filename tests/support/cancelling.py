"""Downloads that are cancelled while they run."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any


async def endlessly(chunk: bytes) -> AsyncIterator[bytes]:
    """Yield the chunk every 10 ms, without end."""
    while True:
        yield chunk
        await asyncio.sleep(0.01)


async def written_and_cancelled(download: asyncio.Task[Any], path: Path) -> None:
    """Wait until `download` has written to `path`, then cancel it in each step that it still takes."""
    while not download.done() and not _has_bytes(path):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    while not download.done():
        download.cancel()
        await asyncio.sleep(0)
    with suppress(asyncio.CancelledError):
        await download


def _has_bytes(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def open_files(path: Path) -> list[str]:
    """Return the file descriptors by which this process has `path` open."""
    folder = "/proc/self/fd"
    return [name for name in os.listdir(folder) if _target(f"{folder}/{name}") == str(path)]


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # closed meanwhile
        return ""
