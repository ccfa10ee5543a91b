"""The download of one file from a URL that the operator gives; URL and proxy may contain passwords."""

import asyncio
import os
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from separator.errors import ModelError
from stemdrop.http.clients import client_options
from stemdrop.http.proxies import Proxies

_PATIENCE_S = 30
_REPORT_EVERY_BYTES = 10_000_000
# The first that matches tells what went wrong.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.UnsupportedProtocol, "it has to begin with http:// or https://"),
    (httpx.TimeoutException, f"nothing came for {_PATIENCE_S} s"),
    (httpx.ConnectError, "its server, or the proxy, cannot be reached"),
    (httpx.ProxyError, "the proxy refused the connection"),
    (httpx.TransportError, "the connection broke off, or what answered is no web server"),
    (httpx.TooManyRedirects, "its server sends from one URL to another without end"),
)


def read_proxies() -> Proxies:
    """Return the proxies that the environment names. Raises `ModelError` for a malformed variable."""
    try:
        return Proxies.from_environment(os.environ)
    except ValueError as error:
        raise ModelError(str(error)) from None


def download(url: str, file: Path, max_bytes: int) -> None:
    """Download `url` to `file`, through the proxy that the environment names.

    Raises `ModelError`; its text contains no part of the URL or of the proxy's address.
    """
    proxies = read_proxies()
    try:
        if not urlsplit(url).hostname or not httpx.URL(url).host:
            raise ModelError("the URL cannot be downloaded: it names no host")
        asyncio.run(_stream(url, file, max_bytes, proxies))
    except httpx.HTTPError as error:
        reason = next((text for kind, text in _REASONS if isinstance(error, kind)), "it cannot be read")
        raise ModelError(f"the URL cannot be downloaded: {reason}") from None
    except (httpx.InvalidURL, ValueError):
        raise ModelError("the URL cannot be downloaded: it is malformed") from None


async def _stream(url: str, file: Path, max_bytes: int, proxies: Proxies) -> None:
    reported = 0
    async with (
        httpx.AsyncClient(**client_options(proxies), follow_redirects=True, timeout=_PATIENCE_S) as client,
        client.stream("GET", url) as response,
    ):
        if not response.is_success:
            raise ModelError(f"the URL cannot be downloaded: its server answered {response.status_code}")
        with file.open("wb") as out:
            async for chunk in response.aiter_raw():
                out.write(chunk)
                received = response.num_bytes_downloaded
                if received > max_bytes:
                    raise ModelError(f"the file at the URL is larger than {max_bytes / 1e6:g} MB")
                if received >= reported + _REPORT_EVERY_BYTES:
                    reported = received
                    print(f"{received / 1e6:.0f} MB downloaded", flush=True)  # noqa: T201
