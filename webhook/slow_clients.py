"""How long the webhook's server waits for clients that do not come to the point.

uvicorn waits without end for a request's head, and for what is left of a body after its answer: whoever sends
a byte and then nothing keeps a connection for as long as they like, and a process has about a thousand.
While a route has the request it is that route's to be patient (`webhook.json_body`, `webhook.source`).
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# For a request's head, and for what is left of a body that nobody wants.
PATIENCE_S = 10.0


class HeaderTimeoutProtocol(H11Protocol):
    """uvicorn's, with a clock where its own does not run: that begins with an answer and ends with a byte."""

    patience_s = PATIENCE_S
    _clock: asyncio.TimerHandle | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the connection will be closed unless something comes of it."""
        return self._clock is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A head is to come."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Something came: a head's end, or not."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        is_served = self.cycle is not None and not self.cycle.response_complete
        if is_served or self.transport.is_closing():
            self._stop()
        elif self.conn.their_state is h11.IDLE and self.cycle is not None and not self.conn.trailing_data[0]:
            # the rest of a body that nobody wanted has come: an idle connection like any other
            self._stop()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        elif self._clock is None:
            self._clock = self.loop.call_later(self.patience_s, self._give_up)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _give_up(self) -> None:
        self._clock = None
        self.transport.abort()
