"""Passes one HTTP request on to another server, and its answer back."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from sandbox.telegram.bot_api.broken_connections import break_off

# Headers of the connection, not of the message (RFC 9110, 7.6.1), and those that httpx sets itself.
_OF_CONNECTION = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("host", "content-length", "accept-encoding"),
    }
)
# A restarted server may be asked before it listens. The separator waits 15 s for a callback's answer.
_PATIENCE_S = 10.0
_PAUSE_S = 0.1
MAX_READ_BYTES = 1024 * 1024  # of a body that is read as a whole


class Relay:
    """Passes requests on. A server that does not listen is tried again for `_PATIENCE_S` seconds."""

    def __init__(self, http: httpx.AsyncClient, closing: asyncio.Event) -> None:
        self._http = http
        self._closing = closing

    async def send(self, request: Request, url: str, body: bytes | None = None) -> httpx.Response:
        """Send `request` to `url` and return the answer, whose body is not read yet.

        `body` replaces the request's body. Raises `httpx.HTTPError`.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return await self._send(request, url, body)
            except httpx.ConnectError:
                if time.monotonic() > deadline or self._closing.is_set():
                    raise
            await sleep_until(self._closing, _PAUSE_S)

    async def _send(self, request: Request, url: str, body: bytes | None) -> httpx.Response:
        headers = [(name, value) for name, value in request.headers.items() if name not in _OF_CONNECTION]
        headers.append(("Accept-Encoding", "identity"))
        content: bytes | AsyncIterator[bytes] | None = body
        if body is None and ("content-length" in request.headers or _is_chunked(request)):
            headers += [("Content-Length", it) for it in request.headers.getlist("content-length")]
            content = request.stream()
        query = f"?{request.url.query}" if request.url.query else ""
        asked = self._http.build_request(request.method, url + query, headers=headers, content=content)
        return await self._http.send(asked, stream=True)


class Relayed(Response):
    """A server's answer, passed on as it comes; if the server breaks it off, the client's breaks off, too."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(status_code=answer.status_code)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self._passed()})
            async for chunk in self._answer.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except httpx.HTTPError:
            await break_off(receive)
        finally:
            await self._answer.aclose()

    def _passed(self) -> list[tuple[bytes, bytes]]:
        own = (b"connection", b"keep-alive", b"transfer-encoding", b"date", b"server")
        return [(name.lower(), value) for name, value in self._answer.headers.raw if name.lower() not in own]


def bad_gateway() -> Response:
    """Return the answer of a gateway that cannot reach its server."""
    return HTMLResponse("<html><head><title>502 Bad Gateway</title></head></html>", 502)


async def read_body(request: Request) -> bytes | None:
    """Return a request's body; or None, without reading it, when it is large or its length is unknown."""
    length = request.headers.get("content-length", "0")
    is_short = length.isdecimal() and int(length) <= MAX_READ_BYTES and not _is_chunked(request)
    return await request.body() if is_short else None


def _is_chunked(request: Request) -> bool:
    return "transfer-encoding" in request.headers


async def drain(request: Request) -> None:
    """Read a body to its end; otherwise the client would see a broken connection."""
    async for _ in request.stream():
        pass


async def sleep_until(closing: asyncio.Event, delay_s: float) -> None:
    """Wait for `delay_s` seconds, or until the sandbox closes."""
    try:
        await asyncio.wait_for(closing.wait(), delay_s)
    except TimeoutError:
        return
