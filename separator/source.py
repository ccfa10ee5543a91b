"""Download of the song to separate. Clients with the key are trusted: any address is allowed."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import anyio
import httpx


class SourceError(Exception):
    """The source could not be downloaded; the message says why."""


# A server that is killed ends its connections as if it had answered (`RemoteProtocolError`).
_UNREACHABLE = httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError


class _UnreachableError(SourceError):
    """The connection failed, or the answer was a server error: the server may be restarting."""


async def fetch(
    client: httpx.AsyncClient,
    url: str,
    file: Path,
    max_bytes: int,
    timeout_s: float,
    pauses_s: Sequence[float] = (),
) -> None:
    """Download `url` to `file`, following redirects, in at most `timeout_s`. Raises `SourceError`.

    A server that cannot be reached is asked again after each of `pauses_s`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            for pause_s in pauses_s:
                try:
                    return await _download(client, url, file, max_bytes)
                except _UnreachableError:
                    await asyncio.sleep(pause_s)
            await _download(client, url, file, max_bytes)
    except TimeoutError as error:
        raise SourceError(f"the audio could not be downloaded within {timeout_s:g} s") from error


async def _download(client: httpx.AsyncClient, url: str, file: Path, max_bytes: int) -> None:
    try:
        async with client.stream("GET", url, follow_redirects=True) as response:
            if not response.is_success:
                refusal = f"the audio could not be downloaded: its server answered {response.status_code}"
                raise (_UnreachableError if response.is_server_error else SourceError)(refusal)
            await _save(response, file, max_bytes)
    except _UNREACHABLE as error:
        raise _UnreachableError(f"the audio could not be downloaded: {type(error).__name__}") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # ValueError: an invalid host name
        raise SourceError(f"the audio could not be downloaded: {type(error).__name__}") from error


async def _save(response: httpx.Response, file: Path, max_bytes: int) -> None:
    too_large = SourceError(f"the audio is larger than {max_bytes / 1e6:g} MB")
    announced = response.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise too_large
    received = 0
    with file.open("wb") as out:  # a cancelled `close` of anyio's file would leave it open
        async for chunk in response.aiter_bytes(256 * 1024):
            received += len(chunk)
            if received > max_bytes:
                raise too_large
            await anyio.to_thread.run_sync(out.write, chunk)
