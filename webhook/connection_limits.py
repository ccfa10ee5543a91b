"""Limits of the webhook's server that uvicorn lacks: for slow clients, connections and requests in progress.

uvicorn waits without end for a request's header, and for the rest of a body after its answer, and its fast
parser (httptools) takes headers and trailers of any length. While a route handles a request, the route limits
the time itself (`webhook.json_body`, `webhook.source`).
"""

import asyncio
import re

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Within this time a request's header, or the rest of a refused body, must arrive.
HEADER_TIMEOUT_S = 10.0
# The most bytes of a header, of trailers or of a chunk's extension that are still incomplete.
MAX_HEADER_BYTES = 16 * 1024
MAX_HEADERS = 100
# The most requests of one connection that may wait while an earlier one is answered.
MAX_PIPELINED = 16
# Half of the files that a process may usually have open. A further connection closes the longest idle one.
MAX_CONNECTIONS = 500
# Fewer than the connections, so that clients beyond them get an answer (503). This also bounds the bodies and
# source chunks in memory.
MAX_REQUESTS = 400

_OF_BODIES = (b"content-length", b"transfer-encoding")
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class RequestLimit:
    """An ASGI middleware that answers 503 to more than `max_requests` requests in progress."""

    def __init__(self, app: ASGIApp, max_requests: int = MAX_REQUESTS) -> None:
        self._app = app
        self._max_requests = max_requests
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._in_progress >= self._max_requests:
            busy = JSONResponse({"detail": "too many requests at once"}, 503, {"Retry-After": "5"})
            await busy(scope, receive, send)
            return
        self._in_progress += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_progress -= 1


class HeaderTimeoutProtocol(HttpToolsProtocol):
    """Closes connections whose header or refused body is late, and idle ones if there are too many.

    uvicorn's own timer, for idle connections, starts with an answer and ends with the next byte.
    """

    header_timeout_s = HEADER_TIMEOUT_S
    max_connections = MAX_CONNECTIONS
    _idle_since = 0.0
    _timer: asyncio.TimerHandle | None = None
    _unfinished_bytes = 0
    _is_advancing = False
    _is_in_header = False
    _is_in_request = False

    @property
    def is_idle(self) -> bool:
        """Return whether no route handles a request of this connection."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def header_deadline(self) -> float | None:
        """The loop's time by which the header or refused body must be complete; `None` without a deadline."""
        return self._timer.when() if self._timer else None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a header; with too many connections, close the one that was idle for the longest."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._update_timer()
        if len(self.connections) > self.max_connections:
            idle = [
                other
                for other in self.connections - {self}
                if isinstance(other, HeaderTimeoutProtocol)
                and other.is_idle
                and not other.transport.is_closing()
            ]
            min(idle, key=lambda other: other._idle_since, default=self).transport.close()

    def data_received(self, data: bytes) -> None:
        self._is_advancing = False
        super().data_received(data if self._is_in_request else _without_upgrade(data))
        self._unfinished_bytes = 0 if self._is_advancing else self._unfinished_bytes + len(data)
        if self._unfinished_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response("The header is too long.")
        self._update_timer()

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests at once")  # the parser makes it a malformed request
        self._is_in_header = self._is_in_request = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_header:  # trailers are ignored (RFC 9110, section 6.5.1)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_header, self._is_advancing = False, True
        version = self.parser.get_http_version()
        hosts = sum(name == b"host" for name, _ in self.headers)
        # the parser accepts what RFC 9112 forbids (sections 2.3, 3.2 and 3.2.1)
        if version not in ("1.0", "1.1") or hosts > 1 or (version == "1.1" and not hosts):
            raise ValueError("an unknown version, or not exactly one host")
        if not self.url.startswith(b"/") or b"#" in self.url:
            raise ValueError("the target is no path")
        if len(self.headers) > MAX_HEADERS:  # kept in memory while the connection is idle
            raise ValueError("too many headers")
        if self.parser.should_upgrade() and (
            self.parser.get_method() == b"CONNECT" or any(name in _OF_BODIES for name, _ in self.headers)
        ):
            raise ValueError("the parser would take the body for a further request")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._is_advancing = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_request, self._is_advancing = False, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_timer()

    def _update_timer(self) -> None:
        if not self.is_idle or self.transport.is_closing():
            self._stop_timer()
        elif self.cycle is not None and not self._is_in_request:
            # the rest of a refused body has arrived: from now on the connection is idle like any other
            self._stop_timer()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        elif self._timer is None:
            self._timer = self.loop.call_later(self.header_timeout_s, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _without_upgrade(data: bytes) -> bytes:
    """Rename a request's `Upgrade` header, which a server may ignore (RFC 9110, section 7.8).

    Java's client asks for HTTP/2 with this header, and the parser would not read the body of such a request.
    """
    header, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nX-Upgrade:", header) + end + rest
