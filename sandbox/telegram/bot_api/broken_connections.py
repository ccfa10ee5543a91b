"""Broken HTTP answers: connections that hang or are reset, and slow or truncated files."""

import asyncio
import socket
import struct
from pathlib import Path

from fastapi import Request
from fastapi.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send


class NoAnswer(Response):
    """No answer: the connection is reset, or hangs until the client disconnects or `closing` is set."""

    def __init__(self, closing: asyncio.Event, *, is_reset: bool) -> None:
        super().__init__()
        self._closing = closing
        self._is_reset = is_reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_reset:
            await until_disconnect(receive, self._closing)
        _reset(receive)
        while (await receive())["type"] != "http.disconnect":
            pass


class BrokenFile(FileResponse):
    """A file sent at `bytes_per_s`, or cut off by a reset after half of the requested bytes."""

    chunk_size = 16 * 1024

    def __init__(self, path: Path, *, bytes_per_s: int | None, is_cut: bool) -> None:
        super().__init__(path)
        self._bytes_per_s = bytes_per_s
        self._is_cut = is_cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = -1  # bytes until the cut

        async def send_part(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                left = int(dict(message["headers"]).get(b"content-length", b"0")) // 2
                await send(message)
                return
            body = message.get("body", b"")
            if self._is_cut and len(body) > left:
                await send({"type": "http.response.body", "body": body[:left], "more_body": True})
                raise _CutError
            left -= len(body)
            if self._bytes_per_s:
                await asyncio.sleep(len(body) / self._bytes_per_s)
            await send(message)

        try:
            await super().__call__(scope, receive, send_part)
        except _CutError:
            await break_off(receive)


class _CutError(Exception):
    pass


async def break_off(receive: Receive) -> None:
    """Close the connection after what was sent, before the answer's end."""
    _reset(receive, after_sending=True)
    while (await receive())["type"] != "http.disconnect":
        pass


async def until_disconnect(receive: Receive, closing: asyncio.Event) -> None:
    """Wait until the client disconnects or the sandbox closes. The request's body must have been read."""

    async def disconnected() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    waits = [asyncio.ensure_future(disconnected()), asyncio.ensure_future(closing.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def read_half(request: Request) -> None:
    """Read about half of a request's body."""
    half = int(request.headers.get("content-length", "0")) // 2
    async for chunk in request.stream():
        half -= len(chunk)
        if half <= 0:
            return


def _reset(receive: Receive, *, after_sending: bool = False) -> None:
    # ASGI cannot reset a connection; `receive` belongs to uvicorn's request cycle, which has the transport.
    transport: asyncio.Transport = receive.__self__.transport  # type: ignore[attr-defined]
    if after_sending:
        transport.close()  # sends what was written, then ends before Content-Length is reached
        return
    if transport.is_closing():
        return
    connection = transport.get_extra_info("socket")
    # Lingering for 0 seconds makes the kernel send RST instead of FIN (socket(7)).
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
