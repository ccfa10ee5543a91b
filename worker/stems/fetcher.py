"""Downloads stems to disk over checked connections, with limits on size, time and memory."""

import asyncio
import logging
from collections.abc import AsyncIterable
from pathlib import Path
from typing import IO, Self
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread
import httpcore
import httpx

from stemdrop.domain.audio_types import extension_of
from stemdrop.errors import AddressRefused, FetchFailed, StemGone, StemTooBig
from stemdrop.http.clients import connection_pools
from stemdrop.http.proxies import DIRECT, Proxies
from stemdrop.observability.metric_definitions import DELIVERY_BYTES, DELIVERY_SECONDS, FETCHES
from stemdrop.storage.counters import Counters
from worker.stems.address_rules import AddressRules
from worker.stems.checked_backend import CheckedConnections

log = logging.getLogger(__name__)

MAX_REDIRECTS = 5
# A thread writes so many bytes at once.
STEM_CHUNK_BYTES = 256 * 1024
STEM_CONNECT_TIMEOUT_S = 15
# A download slower than 10 kB/s for a minute is given up: the largest stem would take an hour and a half.
PORTION_TIMEOUT_S = 60
PORTION_BYTES = 600_000
# A second connection may lead to a faster machine; a third would only take another minute.
MAX_SLOW_TRIES = 2
# A song in pieces of a few bytes is an attack: each piece costs processor time.
MAX_TINY_CHUNKS, TINY_CHUNK_BYTES = 1000, 100
PAUSES_S = (1.0, 3.0, 9.0)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BROKEN = (
    *(httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError),
    httpcore.TimeoutException,
)
# Metric label per error type.
_OUTCOMES: dict[type[FetchFailed], str] = {
    AddressRefused: "refused",
    StemGone: "gone",
    StemTooBig: "too_big",
}


class _TooSlow(FetchFailed):
    """A server is too slow."""


class StemFetcher:
    """Downloads files of at most `max_bytes` from addresses that `rules` allow; an async context manager.

    A proxy is used only for servers whose names and addresses are not private; it resolves their names.
    """

    def __init__(
        self,
        rules: AddressRules,
        max_bytes: int,
        counters: Counters | None = None,
        proxies: Proxies = DIRECT,
    ) -> None:
        self._rules = rules
        self._counters = counters or Counters(None)
        self.max_bytes = max_bytes
        self._proxies = proxies
        self._pools = connection_pools(
            proxies,
            direct=CheckedConnections(rules),
            max_connections=None,
            max_keepalive_connections=20,
            keepalive_expiry=5,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    async def fetch(self, url: str, target: Path) -> str:
        """Write the file to `target` and return the extension that its server or URL names, with the dot.

        Retries temporary errors. Raises `AddressRefused`, `StemGone`, `StemTooBig` or `FetchFailed`.
        """
        try:
            with self._counters.timed(DELIVERY_SECONDS, "fetch"):
                extension, size_bytes = await self._fetch(url, target)
        except FetchFailed as error:
            self._counters.add(FETCHES, _OUTCOMES.get(type(error), "failed"))
            raise
        self._counters.add(FETCHES, "ok")
        self._counters.add(DELIVERY_BYTES, "fetch", by=size_bytes)
        return extension

    async def _fetch(self, url: str, target: Path) -> tuple[str, int]:
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

    async def _try(self, url: str, target: Path) -> tuple[str, int]:
        try:
            async with asyncio.timeout(PORTION_TIMEOUT_S) as deadline:
                return await self._follow(url, target, deadline)
        except TimeoutError as error:
            raise _TooSlow(f"less than {PORTION_BYTES} bytes in {PORTION_TIMEOUT_S} s") from error
        except _BROKEN as error:
            raise FetchFailed(f"{type(error).__name__}: {error}") from error

    async def _follow(self, url: str, target: Path, deadline: asyncio.Timeout) -> tuple[str, int]:
        address = self._rules.read(url)
        for _ in range(MAX_REDIRECTS + 1):
            proxy = self._proxies.proxy_for(address.scheme, address.raw_host.decode(), address.port)
            async with self._pools[proxy].stream(
                "GET",
                httpcore.URL(
                    scheme=address.raw_scheme,
                    host=address.raw_host,
                    port=address.port,
                    target=address.raw_path,
                ),
                headers={
                    "Host": address.netloc,
                    "Accept": "*/*",
                    "Accept-Encoding": "identity",
                    "User-Agent": "stemdrop",
                },
                extensions={"timeout": {"connect": STEM_CONNECT_TIMEOUT_S}},
            ) as response:
                headers = httpx.Headers(response.headers)
                if response.status in _REDIRECTS and "location" in headers:
                    address = self._rules.read(headers["location"], address)
                    continue
                self._check(response.status, headers)
                size_bytes = await self._save(response.aiter_stream(), target, deadline)
                return _extension(str(address), headers), size_bytes
        raise StemGone("too many redirects")

    def _check(self, status: int, headers: httpx.Headers) -> None:
        if status >= 500 or status in (408, 425, 429):
            raise FetchFailed(f"HTTP {status}")
        if status != 200:
            raise StemGone(f"HTTP {status}")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.max_bytes:
            raise StemTooBig("it exceeds Telegram's limit")

    async def _save(self, body: AsyncIterable[bytes], target: Path, deadline: asyncio.Timeout) -> int:
        """Write the body as it comes, since no content coding was accepted; returns its size in bytes."""
        size, extended_at, written, count = 0, 0, 0, 0
        chunks: list[bytes] = []
        with _create(target) as file:
            async for chunk in body:
                chunks.append(chunk)
                size += len(chunk)
                count += 1
                if count > MAX_TINY_CHUNKS and size < count * TINY_CHUNK_BYTES:
                    raise StemGone("it comes in chunks of a few bytes")
                if size > self.max_bytes:
                    raise StemTooBig("it exceeds Telegram's limit")
                if size - extended_at >= PORTION_BYTES:
                    extended_at = size
                    deadline.reschedule(asyncio.get_running_loop().time() + PORTION_TIMEOUT_S)
                if size - written >= STEM_CHUNK_BYTES:
                    written = size
                    await anyio.to_thread.run_sync(file.writelines, chunks)
                    chunks = []
            await anyio.to_thread.run_sync(file.writelines, chunks)
        if size == 0:
            raise FetchFailed("it is empty")
        return size


def _create(path: Path) -> IO[bytes]:
    return path.open("wb")


def _extension(url: str, headers: httpx.Headers) -> str:
    return extension_of(headers.get("content-type", ""), unquote(urlsplit(url).path)) or ".mp3"
