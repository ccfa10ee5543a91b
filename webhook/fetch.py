"""Stems are fetched to disk: from allowed addresses only, checked in type and size, never into memory."""

import asyncio
import logging
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import anyio
import httpx

from stemdrop.errors import AddressRefused, FetchFailed, StemGone, StemTooBig
from webhook.addresses import AddressRules

log = logging.getLogger(__name__)

MAX_REDIRECTS = 5
CHUNK_BYTES = 64 * 1024
TIMEOUT = httpx.Timeout(60, connect=15)
# Over all tries: 50 MB at 45 kB/s; whoever is slower is not sending a stem.
LONGEST_FETCH_S = 1200
PAUSES_S = (1.0, 3.0, 9.0)

_EXTENSIONS = frozenset({".mp3", ".m4a", ".wav", ".flac", ".ogg", ".opus", ".aac", ".aiff"})
_EXTENSION_OF_TYPE = {
    "audio/mpeg": ".mp3",
    "audio/mp3": ".mp3",
    "audio/mp4": ".m4a",
    "audio/x-m4a": ".m4a",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/flac": ".flac",
    "audio/x-flac": ".flac",
    "audio/ogg": ".ogg",
}


class StemFetcher:
    """Fetches files over an `httpx.AsyncClient` that must not follow redirects or use proxies."""

    def __init__(self, http: httpx.AsyncClient, rules: AddressRules, max_bytes: int) -> None:
        self._http = http
        self._rules = rules
        self._max_bytes = max_bytes

    async def fetch(self, url: str, target: Path) -> str:
        """Write the file to `target` and return its extension, with the dot.

        What may pass by itself is tried again. Raises `AddressRefused`, `StemGone`, `StemTooBig` or, when
        nothing helped, `FetchFailed`.
        """
        try:
            async with asyncio.timeout(LONGEST_FETCH_S):
                return await self._try(url, target)
        except TimeoutError as error:
            raise FetchFailed(f"not there in {LONGEST_FETCH_S} s") from error

    async def _try(self, url: str, target: Path) -> str:
        for pause_s in PAUSES_S:
            try:
                return await self._follow(url, target)
            except (AddressRefused, StemGone, StemTooBig):
                raise
            except (FetchFailed, httpx.HTTPError) as error:
                log.info("a stem could not be fetched, again in %.0f s: %s", pause_s, type(error).__name__)
            await anyio.sleep(pause_s)
        try:
            return await self._follow(url, target)
        except httpx.HTTPError as error:
            raise FetchFailed(f"{type(error).__name__}: {error}") from error

    async def _follow(self, url: str, target: Path) -> str:
        for _ in range(MAX_REDIRECTS + 1):
            hop = await self._rules.check(url)
            request = self._http.build_request(
                "GET",
                hop.url,
                headers={"Host": hop.host_header, "Accept-Encoding": "identity"},
                extensions={"sni_hostname": hop.sni_hostname},
                timeout=TIMEOUT,
            )
            response = await self._http.send(request, stream=True)
            try:
                if response.has_redirect_location:
                    url = str(httpx.URL(url).join(response.headers["location"]))
                    continue
                return await self._save(response, url, target)
            finally:
                await response.aclose()
        raise StemGone("too many redirects")

    async def _save(self, response: httpx.Response, url: str, target: Path) -> str:
        if response.status_code >= 500 or response.status_code in (408, 425, 429):
            raise FetchFailed(f"HTTP {response.status_code}")
        if response.status_code != 200:
            raise StemGone(f"HTTP {response.status_code}")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind.startswith(("text/", "image/")) or kind in ("application/json", "application/xml"):
            raise StemGone(f"it is {kind}, not audio")
        if int(response.headers.get("content-length") or 0) > self._max_bytes:
            raise StemTooBig("more than Telegram takes")
        size = 0
        async with await anyio.open_file(target, "wb") as file:
            async for chunk in response.aiter_bytes(CHUNK_BYTES):
                size += await file.write(chunk)
                if size > self._max_bytes:
                    raise StemTooBig("more than Telegram takes")
        if size == 0:
            raise FetchFailed("it is empty")
        return _extension(url, kind)


def _extension(url: str, kind: str) -> str:
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    return suffix if suffix in _EXTENSIONS else _EXTENSION_OF_TYPE.get(kind, ".mp3")
