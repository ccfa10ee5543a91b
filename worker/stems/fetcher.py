"""Stems are fetched to disk: over checked connections only, never more than is wanted, never into memory."""

import asyncio
import logging
from collections.abc import AsyncIterable
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import anyio
import httpcore
import httpx

from stemdrop.domain.audio_types import EXTENSIONS, extension_of_mime_type
from stemdrop.errors import AddressRefused, FetchFailed, StemGone, StemTooBig
from stemdrop.observability.metric_definitions import DELIVERY_BYTES, DELIVERY_SECONDS, FETCHES
from stemdrop.storage.counters import Counters
from worker.stems.address_rules import AddressRules
from worker.stems.checked_backend import CheckedConnections

log = logging.getLogger(__name__)

MAX_REDIRECTS = 5
CHUNK_BYTES = 64 * 1024
CONNECT_TIMEOUT_S = 15
# Who sends less than 10 kB/s for a minute, or nothing at all, is left: others are waiting, and at that rate
# the largest stem would take an hour and a half.
PATIENCE_S = 60
PORTION_BYTES = 600_000
# Another connection may lead to a quicker machine; the third would only cost another minute.
MAX_SLOW_TRIES = 2
# Nobody sends a song in pieces of some bytes, and each keeps the whole process busy.
MAX_CRUMBS, CRUMB_BYTES = 1000, 100
PAUSES_S = (1.0, 3.0, 9.0)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)
# As what a fetch that did not succeed is counted.
_OUTCOMES: dict[type[FetchFailed], str] = {
    AddressRefused: "refused",
    StemGone: "gone",
    StemTooBig: "too_big",
}


class _TooSlow(FetchFailed):
    """A server that keeps others waiting."""


class StemFetcher:
    """Fetches files from where `rules` allow it, over connections of its own: an async context manager.

    `max_bytes` is what Telegram takes of one file.
    """

    def __init__(self, rules: AddressRules, max_bytes: int, counters: Counters | None = None) -> None:
        self._rules = rules
        self._counters = counters or Counters(None)
        self.max_bytes = max_bytes
        # No client above it: httpx's would keep strangers' cookies, and unpack a few bytes into gigabytes
        # where a server says that they are packed.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=None,
            max_keepalive_connections=20,
            keepalive_expiry=5,
            network_backend=CheckedConnections(rules),
        )

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._pool.__aexit__(kind, error, traceback)

    async def fetch(self, url: str, target: Path) -> str:
        """Write the file to `target` and return its extension, with the dot, as its server calls it.

        What may pass by itself is tried again. Raises `AddressRefused`, `StemGone`, `StemTooBig` or, when
        nothing helped, `FetchFailed`.
        """
        try:
            with self._counters.timed(DELIVERY_SECONDS, "fetch"):
                extension = await self._fetch(url, target)
        except FetchFailed as error:
            self._counters.add(FETCHES, _OUTCOMES.get(type(error), "failed"))
            raise
        self._counters.add(FETCHES, "ok")
        self._counters.add(DELIVERY_BYTES, "fetch", by=(await anyio.Path(target).stat()).st_size)
        return extension

    async def _fetch(self, url: str, target: Path) -> str:
        slow_tries = 0
        for pause_s in PAUSES_S:
            try:
                return await self._try(url, target)
            except (AddressRefused, StemGone, StemTooBig):
                raise
            except FetchFailed as error:
                slow_tries += isinstance(error, _TooSlow)
                if slow_tries == MAX_SLOW_TRIES:
                    raise
                log.info("a stem could not be fetched, again in %.0f s: %s", pause_s, error)
            await anyio.sleep(pause_s)
        return await self._try(url, target)

    async def _try(self, url: str, target: Path) -> str:
        try:
            async with asyncio.timeout(PATIENCE_S) as patience:
                return await self._follow(url, target, patience)
        except TimeoutError as error:
            raise _TooSlow(f"less than {PORTION_BYTES} bytes in {PATIENCE_S} s") from error
        except _BROKEN as error:
            raise FetchFailed(f"{type(error).__name__}: {error}") from error

    async def _follow(self, url: str, target: Path, patience: asyncio.Timeout) -> str:
        where = self._rules.read(url)
        for _ in range(MAX_REDIRECTS + 1):
            async with self._pool.stream(
                "GET",
                httpcore.URL(
                    scheme=where.raw_scheme, host=where.raw_host, port=where.port, target=where.raw_path
                ),
                headers={
                    "Host": where.netloc,
                    "Accept": "*/*",
                    "Accept-Encoding": "identity",
                    "User-Agent": "stemdrop",
                },
                extensions={"timeout": {"connect": CONNECT_TIMEOUT_S}},
            ) as response:
                headers = httpx.Headers(response.headers)
                if response.status in _REDIRECTS and "location" in headers:
                    where = self._rules.read(headers["location"], where)
                    continue
                self._check(response.status, headers)
                await self._save(response.aiter_stream(), target, patience)
                return _extension(str(where), headers)
        raise StemGone("too many redirects")

    def _check(self, status: int, headers: httpx.Headers) -> None:
        if status >= 500 or status in (408, 425, 429):
            raise FetchFailed(f"HTTP {status}")
        if status != 200:
            raise StemGone(f"HTTP {status}")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.max_bytes:
            raise StemTooBig("more than Telegram takes")

    async def _save(self, body: AsyncIterable[bytes], target: Path, patience: asyncio.Timeout) -> None:
        """The bytes as they come, whatever coding they are said to have: none was asked for."""
        size, rewarded, pieces = 0, 0, 0
        gathered = bytearray()  # each write is a thread's
        async with await anyio.open_file(target, "wb") as file:
            async for chunk in body:
                gathered += chunk
                size += len(chunk)
                pieces += 1
                if pieces > MAX_CRUMBS and size < pieces * CRUMB_BYTES:
                    raise StemGone("it comes in crumbs")
                if size > self.max_bytes:
                    raise StemTooBig("more than Telegram takes")
                if size - rewarded >= PORTION_BYTES:
                    rewarded = size
                    patience.reschedule(asyncio.get_running_loop().time() + PATIENCE_S)
                if len(gathered) >= CHUNK_BYTES:
                    await file.write(gathered)
                    gathered = bytearray()
            await file.write(gathered)
        if size == 0:
            raise FetchFailed("it is empty")


def _extension(url: str, headers: httpx.Headers) -> str:
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    if suffix in EXTENSIONS:
        return suffix
    return extension_of_mime_type(headers.get("content-type", "")) or ".mp3"
