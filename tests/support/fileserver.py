"""An HTTP server whose files a test chooses, with everything that can go wrong when files are downloaded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from sandbox.environment.server import serve


@dataclass
class FileServer:
    """The server. `files` maps a path without its slash to the answer, or to a function that returns it."""

    url: str = ""
    files: dict[str, Response | Callable[[], Response]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    held: dict[str, asyncio.Event] = field(default_factory=dict)

    @asynccontextmanager
    async def run(self) -> AsyncIterator["FileServer"]:
        """Serve on a free loopback port."""
        app = Starlette(routes=[Route("/{path:path}", self._answer)])
        # it also sends headers that httptools refuses to send
        async with serve(app, protocol=H11Protocol) as self.url:
            yield self
            for event in self.held.values():
                event.set()

    @property
    def host(self) -> str:
        """`host:port`, as in STEM_HOSTS."""
        return urlsplit(self.url).netloc

    @property
    def asked(self) -> list[str]:
        """The paths of all requests so far."""
        return [str(request.path_params["path"]) for request in self.requests]

    def put(
        self,
        path: str,
        content: bytes = b"",
        *,
        status: int = 200,
        media_type: str | None = "audio/mpeg",
        **headers: str,
    ) -> str:
        """Serve this file and return its URL."""
        self.files[path] = Response(content, status, headers, media_type=media_type)
        return f"{self.url}/{quote(path)}"

    def redirect(self, path: str, to: str | None, status: int = 302) -> str:
        """Answer with a redirect and return its URL; with `to` None, the redirect names no target."""
        self.files[path] = Response(b"", status, {} if to is None else {"location": to})
        return f"{self.url}/{path}"

    def hold(self, path: str) -> asyncio.Event:
        """Let requests for this path wait until the event is set."""
        return self.held.setdefault(path, asyncio.Event())

    async def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        path = str(request.path_params["path"])
        if path in self.held:
            await self.held[path].wait()
        found = self.files.get(path, Response(b"", 404))
        return found() if callable(found) and not isinstance(found, Response) else found


Serving = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(answer: bytes | Serving) -> AsyncIterator[str]:
    """Run a server that answers every request with these bytes and closes, or that calls a function for each
    connection; yields its URL."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError, asyncio.IncompleteReadError):
            if not isinstance(answer, bytes):
                await answer(reader, writer)
                return
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
