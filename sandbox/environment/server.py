"""An ASGI app on a free loopback port for the duration of a block."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_log = logging.getLogger("uvicorn.error")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        # As uvicorn's loop, but once a second, for the Date header, and it ends at once when we stop.
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # As uvicorn's shutdown, which would sleep for tenths of a second even without connections.
        state = self.server_state
        for server in self.servers:
            server.close()
        for connection in list(state.connections):
            connection.shutdown()
        for _ in range(20):
            if not (state.connections or state.tasks):
                await self.lifespan.shutdown()
                return
            await asyncio.sleep(0.002)
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()


@asynccontextmanager
async def serve(
    app: ASGIApp,
    port: int = 0,
    protocol: type[asyncio.Protocol] = HttpToolsProtocol,
    host: str = "127.0.0.1",
) -> AsyncIterator[str]:
    """Run `app` under uvicorn (`port` 0: any) and yield its URL. Raises OSError when the port is taken."""
    # asyncio disables Nagle's algorithm (40 ms per answer) only on sockets with an explicit protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    # The access log would hold the bot's token, which is in its paths. Warnings go to the caller's log.
    if _log.level != logging.WARNING:
        _log.setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",  # the apps have none
        proxy_headers=False,  # nothing is between us and the product's processes
        timeout_graceful_shutdown=5,
        # On a busy machine, uvicorn's 5 s can pass between two requests, and the second one would fail.
        timeout_keep_alive=75,
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait((running, ready), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
            raise RuntimeError("the app did not start")
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        ready.cancel()
        server.should_exit = True
        server.stopping.set()
        await asyncio.gather(running, return_exceptions=True)
        listener.close()
