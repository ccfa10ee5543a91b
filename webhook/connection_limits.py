"""Limits of the webhook's server that uvicorn lacks: for slow clients, connections and requests in progress.

uvicorn waits without end for a request's header, and for the rest of a body after its answer. While a route
handles a request, the route limits the time itself (`webhook.json_body`, `webhook.source`).
"""

import asyncio

import h11
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

# For a request's header, and for the rest of a body that was refused.
HEADER_TIMEOUT_S = 10.0
# Half of the files that a process may usually have open. A further connection closes the oldest idle one.
MAX_CONNECTIONS = 500
# Fewer, so that further clients are told to come again. It bounds the bodies and source chunks in memory.
MAX_REQUESTS = 400


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


class HeaderTimeoutProtocol(H11Protocol):
    """Closes connections whose header or refused body does not arrive in time, and the oldest idle ones.

    uvicorn's own timer, for idle connections, starts with an answer and ends with the next byte.
    """

    header_timeout_s = HEADER_TIMEOUT_S
    max_connections = MAX_CONNECTIONS
    _idle_since = 0.0
    _timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Return whether no route handles a request of this connection."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def header_deadline(self) -> float | None:
        """The loop's time at which the connection is closed unless its header or refused body is complete."""
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
        super().data_received(data)
        self._update_timer()

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_timer()

    def _update_timer(self) -> None:
        if not self.is_idle or self.transport.is_closing():
            self._stop_timer()
        elif self.conn.their_state is h11.IDLE and self.cycle is not None and not self.conn.trailing_data[0]:
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
