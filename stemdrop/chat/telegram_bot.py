"""Telegram as all rooms use it: the bot object, its flood limiter, and the users' files.

The file URL contains the bot's token; it is built and used here and leaves this module nowhere.
"""

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
from anyio import sleep
from pydantic import SecretStr
from telegram import Bot, LinkPreviewOptions
from telegram.error import BadRequest, Forbidden, NetworkError, RetryAfter, TelegramError
from telegram.ext import BaseRateLimiter, Defaults, ExtBot
from telegram.request import HTTPXRequest

from stemdrop.errors import SourceGone, TryLater
from stemdrop.observability.metric_definitions import FLOOD_SECONDS, FLOOD_WAITS, TELEGRAM_CALLS
from stemdrop.settings import Settings
from stemdrop.storage.counters import Counters
from stemdrop.storage.flood_limiter import FloodLimiter

CHUNK_BYTES = 64 * 1024
CHAT_ACTION = "sendChatAction"
# A longer stop is not waited out inside a call: its task makes room for others and is run again after it.
# A caller that holds what is dear (files on disk) says with `rate_limit_args` how long it waits instead.
PATIENCE_S = 5.0


class RateLimiter(BaseRateLimiter[float]):
    """Lets python-telegram-bot's calls wait for the limiter that all processes share."""

    def __init__(self, flood: FloodLimiter, counters: Counters | None = None) -> None:
        self._flood = flood
        self._counters = counters or Counters(None)

    async def initialize(self) -> None:
        """Nothing to open."""

    async def shutdown(self) -> None:
        """Nothing to close."""

    async def process_request(
        self,
        callback: Callable[..., Coroutine[Any, Any, Any]],
        args: Any,
        kwargs: dict[str, Any],
        endpoint: str,
        data: dict[str, Any],
        rate_limit_args: float | None,
    ) -> Any:
        """Make the call when it is allowed. Raises `TryLater` when that is further off than the patience."""
        patience_s, seconds = rate_limit_args or PATIENCE_S, 0.0
        for _ in range(3):
            if messages := _messages(endpoint, data):
                await self._wait(data.get("chat_id"), messages, patience_s)
            try:
                answer = await callback(*args, **kwargs)
                self._counters.add(TELEGRAM_CALLS, "ok")
                return answer
            except RetryAfter as error:
                if endpoint == CHAT_ACTION:  # "typing …" is not worth any delay
                    raise
                seconds = error._retry_after.total_seconds()
                self._counters.add(TELEGRAM_CALLS, "flood")
                self._count_wait("asked", seconds)
                if messages:
                    await self._flood.pause(seconds)
                elif seconds <= patience_s:
                    await sleep(seconds)
                else:
                    break
            except TelegramError as error:
                self._counters.add(TELEGRAM_CALLS, _outcome(error))
                raise
        raise TryLater(seconds, "Telegram asks to slow down")

    async def _wait(self, chat_id: int | str | None, messages: int, patience_s: float) -> None:
        while (delay_s := await self._flood.delay(chat_id, messages)) > 0:
            if delay_s > patience_s:
                self._count_wait("put_off", delay_s)
                raise TryLater(delay_s, "Telegram's flood limit")
            self._count_wait("waited", delay_s)
            patience_s -= delay_s
            await sleep(delay_s)

    def _count_wait(self, how: str, seconds: float) -> None:
        self._counters.add(FLOOD_WAITS, how)
        self._counters.add(FLOOD_SECONDS, how, by=seconds)


def _outcome(error: TelegramError) -> str:
    """As what a call that did not succeed is counted."""
    if is_gone(error):
        return "gone"
    if isinstance(error, BadRequest):  # to the library a kind of broken network
        return "refused"
    return "network" if isinstance(error, NetworkError) else "failed"


def _messages(endpoint: str, data: dict[str, Any]) -> int:
    """How many messages a call counts as in its chat; 0 for calls that show nothing there."""
    if endpoint == "sendMediaGroup":
        return len(data["media"])
    return 1 if endpoint.startswith(("send", "edit")) and endpoint != CHAT_ACTION else 0


class _Request(HTTPXRequest):
    """Takes the token out of refusals: some servers on the way repeat the path that they were asked for, and
    our exceptions tell why Telegram refused."""

    def __init__(self, token: str, **options: Any) -> None:
        super().__init__(**options)
        self._secret = SecretStr(token.partition(":")[2])

    async def do_request(self, *args: Any, **named: Any) -> tuple[int, bytes]:
        """As the library's. What is granted stays as it is: a path on a shared disk may hold the token."""
        status, body = await super().do_request(*args, **named)
        return status, body if status < 300 else body.replace(
            self._secret.get_secret_value().encode(), b"***"
        )

    @staticmethod
    def parse_json_payload(payload: bytes) -> Any:
        """Parse an answer. Raises `TelegramError`; the library would also log the whole answer."""
        try:
            answer = json.loads(payload.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise TelegramError("Invalid server response")
        return answer


@contextmanager
def parsing(method: str) -> Iterator[None]:
    """Raise `TelegramError` where the library fails to parse Telegram's answer to this method."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise TelegramError(f"its answer to {method} cannot be parsed: {error}") from error


class _Bot(ExtBot[float]):
    """The library's shows its token in `repr`, and so does all that shows its bot."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Bot({self.token.partition(':')[0]})"


def build_bot(settings: Settings, flood: FloodLimiter, counters: Counters | None = None) -> ExtBot[float]:
    """The bot, with timeouts that fit 50 MB over a slow line (the library's 5 s do not)."""
    token = settings.telegram_bot_token.get_secret_value()
    request = _Request(
        token,
        connection_pool_size=64,
        connect_timeout=15,
        read_timeout=60,
        write_timeout=60,
        pool_timeout=60,
        media_write_timeout=300,
    )
    return _Bot(
        token=token,
        base_url=f"{settings.telegram_api_url}/bot",
        base_file_url=f"{settings.telegram_api_url}/file/bot",
        request=request,
        get_updates_request=_Request(token, connection_pool_size=2, connect_timeout=15, read_timeout=15),
        rate_limiter=RateLimiter(flood, counters),
        # a title with a web address in it is no reason to show that site
        defaults=Defaults(link_preview_options=LinkPreviewOptions(is_disabled=True)),
        local_mode=settings.telegram_local_mode,
    )


@dataclass(frozen=True, slots=True)
class TelegramFile:
    """A file that Telegram holds for the bot; `path` is set when it lies on a disk that we share."""

    size_bytes: int
    path: Path | None
    _url: str = ""

    def __repr__(self) -> str:
        return f"TelegramFile({self.size_bytes} bytes)"


class TelegramFiles:
    """Reads the users' files: streamed, from Telegram or from the disk of a local Bot API server."""

    def __init__(self, bot: Bot, http: httpx.AsyncClient) -> None:
        self._bot = bot
        self._http = http

    async def find(self, file_id: str) -> TelegramFile:
        """Ask where the file is. Raises `SourceGone` when Telegram does not give it, `TelegramError` else."""
        try:
            file = await self._bot.get_file(file_id)
        except (BadRequest, Forbidden) as error:
            raise SourceGone(str(error)) from error
        location = file.file_path or ""
        if not location:
            raise SourceGone("Telegram names no path for the file")
        # in local mode the library makes a URL of a path that is not on this machine's disk
        if location.startswith(("http://", "https://")) and not self._bot.local_mode:
            return TelegramFile(file.file_size or 0, None, location)
        path = Path(location)
        if not await anyio.Path(path).is_file():
            raise SourceGone("the file is not on the disk that the Bot API server shares")
        return TelegramFile((await anyio.Path(path).stat()).st_size, path)

    @asynccontextmanager
    async def open(
        self, file: TelegramFile, start: int = 0, end: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes from `start` up to, not including, `end`. Raises `SourceGone` or `httpx.HTTPError`."""
        if file.path is not None:
            yield _read_disk(file.path, start, end)
            return
        headers = {"Accept-Encoding": "identity"}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        async with self._http.stream("GET", file._url, headers=headers) as response:
            if response.status_code in (400, 401, 403, 404, 410):
                raise SourceGone(f"Telegram's file server answers HTTP {response.status_code}")
            if response.status_code not in (200, 206):
                # not `raise_for_status`: its text holds the URL, and so the token
                raise httpx.RemoteProtocolError(f"Telegram's file server answers HTTP {response.status_code}")
            # A server that ignores ranges sends everything: pass over what was not asked for.
            skip = start if response.status_code == 200 else 0
            yield _slice(response.aiter_bytes(CHUNK_BYTES), skip, None if end is None else end - start)

    async def save(self, file: TelegramFile, path: Path, max_bytes: int) -> int:
        """Write the file to `path` and return its size. Raises as `open`; stops after `max_bytes`."""
        size = 0
        async with self.open(file) as chunks, await anyio.open_file(path, "wb") as target:
            async for chunk in chunks:
                size += await target.write(chunk)
                if size > max_bytes:
                    break
        return size


async def _read_disk(path: Path, start: int, end: int | None) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        await file.seek(start)
        left = None if end is None else end - start
        while left is None or left > 0:
            chunk = await file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
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


def is_gone(error: TelegramError) -> bool:
    """Whether the chat cannot be written to any more: the bot was blocked or kicked, or the chat is gone."""
    return isinstance(error, Forbidden) or "chat not found" in str(error).lower()
