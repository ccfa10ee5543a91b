"""The process `stemdrop webhook`: an HTTP server."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from stemdrop.errors import SettingsError
from stemdrop.settings import Settings
from stemdrop.wiring import STOP_GRACE_S, Parts
from webhook.app import create_app
from webhook.connection_limits import MAX_REQUESTS, HeaderTimeoutProtocol, RequestLimit
from webhook.mixer.app import open_segments

log = logging.getLogger(__name__)

# Proxies keep an idle connection for a shorter time (Caddy: two minutes), so that the proxy closes it, not
# the webhook: a callback that is sent at the moment of our close would be lost with the connection.
KEEP_ALIVE_S = 130
# A client that reads nothing for so long is disconnected.
UNREAD_TIMEOUT_MS = 60_000


async def run_webhook(parts: Parts, stop: asyncio.Event) -> None:
    """Serve until `stop`. Raises `SettingsError` when the port cannot be used."""
    listening = listen(parts.settings)
    async with contextlib.AsyncExitStack() as stack:
        segments = None
        if parts.settings.mixer_url:
            segments = await stack.enter_async_context(open_segments(parts))
        server = build_server(create_app(parts, segments=segments))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        log.info("webhook ready at port %d", listening.getsockname()[1])
        await asyncio.wait({serving, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving


def build_server(
    app: ASGIApp,
    *,
    max_requests: int = MAX_REQUESTS,
    protocol: type[HeaderTimeoutProtocol] = HeaderTimeoutProtocol,
) -> uvicorn.Server:
    """Build the HTTP server of `stemdrop webhook`; the caller opens its sockets."""
    config = uvicorn.Config(
        RequestLimit(app, max_requests),
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    return _Server(config)


def listen(settings: Settings) -> socket.socket:
    """Open the webhook's socket; accepted connections inherit its options. Raises `SettingsError`."""
    host, port = settings.listen_host, settings.listen_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError(
            f"LISTEN_HOST, LISTEN_PORT: cannot listen at {host}:{port}: {error.strerror}"
        ) from error
    # asyncio disables Nagle's algorithm (40 ms an answer) only on sockets that name their protocol.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_TIMEOUT_MS)
    return listening


class _Server(uvicorn.Server):
    """Leaves signals to `stemdrop.serve`, which stops all roles of the process in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
