"""`TelegramFiles`: reads the users' files from Telegram.

The URL of a file contains the bot's token, so the URL never leaves this module.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import anyio
import httpx
from telegram import Bot, File
from telegram.error import BadRequest, Forbidden

from stemdrop.chat.shared_disk import readable_size, reading_shared_disk
from stemdrop.chat.telegram_bot import is_file_unavailable
from stemdrop.errors import SourceGone, SourceTooBig, SourceUnavailable

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class TelegramFile:
    """A file that Telegram holds for the bot; `path` is set if a local Bot API server shares its disk."""

    size_bytes: int
    path: Path | None
    _url: str = ""

    def __repr__(self) -> str:
        return f"TelegramFile({self.size_bytes} bytes)"


class TelegramFiles:
    """Streams the users' files from Telegram, or from the disk of a local Bot API server."""

    def __init__(self, bot: Bot, http: httpx.AsyncClient) -> None:
        self._bot = bot
        self._http = http

    async def find(self, file_id: str) -> TelegramFile:
        """Find the file's path or URL. Raises `SourceGone`, `SourceUnavailable` or `TelegramError`."""
        file = await self.ask(file_id)
        location = file.file_path or ""
        if not location:
            raise SourceGone("Telegram names no path for the file")
        if location.startswith(("http://", "https://")) and not self._bot.local_mode:
            return TelegramFile(file.file_size or 0, None, location)
        # in local mode the library makes a URL of a path at which it finds no file
        path = Path(location.removeprefix(f"{self._bot.base_file_url}/"))
        return TelegramFile(await anyio.to_thread.run_sync(readable_size, path), path)

    async def ask(self, file_id: str) -> File:
        """Ask Telegram about a file, which may be on another machine's disk. Raises as `find`."""
        try:
            return await self._bot.get_file(file_id)
        except (BadRequest, Forbidden) as error:
            if is_file_unavailable(error):
                raise SourceUnavailable(str(error)) from error
            is_too_big = "too big" in str(error).lower()
            raise (SourceTooBig if is_too_big else SourceGone)(str(error)) from error

    @asynccontextmanager
    async def open(
        self, file: TelegramFile, start: int = 0, end: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the bytes from `start` to before `end`.

        Raises `SourceGone`, `SourceUnavailable` or `httpx.HTTPError`; the bytes raise the last two.
        """
        if file.path is not None:
            with reading_shared_disk():
                source = file.path.open("rb")
            with source:
                yield _read_disk(source, start, end)
            return
        headers = {"Accept-Encoding": "identity"}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        request = self._http.build_request("GET", file._url, headers=headers)
        try:
            answer = await self._http.send(request, stream=True)
        except UnicodeError as error:  # httpx also reads where a redirect leads
            raise httpx.RemoteProtocolError("Telegram's file server redirects to no host") from error
        async with aclosing(answer) as response:
            if response.status_code in (400, 401, 403, 404, 410):
                raise SourceGone(f"Telegram's file server answers HTTP {response.status_code}")
            if response.status_code not in (200, 206):
                # not `raise_for_status`, whose text has the URL, and so the token
                raise httpx.RemoteProtocolError(f"Telegram's file server answers HTTP {response.status_code}")
            # A server that ignores ranges sends everything: skip what was not asked for.
            skip = start if response.status_code == 200 else 0
            yield _slice(response.aiter_bytes(CHUNK_BYTES), skip, None if end is None else end - start)

    async def save(self, file: TelegramFile, path: Path, max_bytes: int) -> int:
        """Write the file to `path` and return its size. Raises as `open`; stops after `max_bytes`."""
        size = 0
        async with self.open(file) as chunks:
            with path.open("wb") as target:  # not anyio's file: cancelled, its `close` would leave it open
                async for chunk in chunks:
                    size += await anyio.to_thread.run_sync(target.write, chunk)
                    if size > max_bytes:
                        break
        return size


async def _read_disk(file: BinaryIO, start: int, end: int | None) -> AsyncIterator[bytes]:
    file.seek(start)
    left = None if end is None else end - start
    while left is None or left > 0:
        size = CHUNK_BYTES if left is None else min(CHUNK_BYTES, left)
        with reading_shared_disk():
            chunk = await anyio.to_thread.run_sync(file.read, size)
        if not chunk:
            return
        left = None if left is None else left - len(chunk)
        yield chunk


async def _slice(chunks: AsyncIterator[bytes], skip: int, left: int | None) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        part, skip = chunk[skip:], max(0, skip - len(chunk))
        if left is not None:
            part = part[:left]
            left -= len(part)
        if part:
            yield part
        if left == 0:
            return
