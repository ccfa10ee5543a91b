"""The checks of requests to the chat API.

Each request needs a loopback `Host` and `telegram.access_key`, in the header `X-Sandbox-Key` or, for
`<audio src>`, as `key` in the query. An upload also needs room on the disk. All this is checked before the
body is read.
"""

import secrets

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from sandbox.bench.bench import Bench
from sandbox.telegram import chat_api
from sandbox.telegram.person_actions import Telegram
from sandbox.telegram.request_guard import host_name

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LARGE_BYTES = 1024 * 1024  # smaller bodies stay in memory


class ChatApi:
    """The chat API, built at its first request, since building it would slow down the server's start."""

    def __init__(self, telegram: Telegram, bench: Bench | None) -> None:
        self._telegram = telegram
        self._bench = bench
        self._router: APIRouter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self._check_access(request)
        size_bytes = int(request.headers.get("content-length", "0"))
        self._router = self._router or chat_api.create_router(self._telegram, self._bench)
        if size_bytes <= _LARGE_BYTES:
            await self._router(scope, receive, send)
            return
        if size_bytes > (room := self._telegram.room.left_bytes()):
            async for _ in request.stream():
                pass  # read to the end, or the page sees a broken connection instead of the answer
            sizes = f"{size_bytes / 1e6:.0f} MB, and this sandbox has room for {room / 1e6:.0f} MB"
            raise HTTPException(413, f"the file is too large: {sizes}")
        with self._telegram.room.expect(size_bytes):
            await self._router(scope, receive, send)

    def _check_access(self, request: Request) -> None:
        if host_name(request.headers) not in _LOOPBACK:
            raise HTTPException(403, "the chat API accepts only loopback requests")
        key = request.headers.get("x-sandbox-key") or request.query_params.get("key") or ""
        if not secrets.compare_digest(key.encode(), self._telegram.access_key.encode()):
            raise HTTPException(403, "the access key is missing or wrong")
