"""httpcore's connections over asyncio's own transports, for large files.

httpcore's default stream reads TLS in pieces of 16 kB, each of which passes through four layers. asyncio
reads whatever has arrived, decrypts it in one step and copies it less often.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpcore

# A connection stops receiving while this much waits to be read; asyncio reads as much at once.
BUFFER_BYTES = 256 * 1024
# For this time the first address of a host is tried alone (RFC 8305).
_NEXT_ADDRESS_S = 0.25


class AsyncioBackend(httpcore.AsyncNetworkBackend):
    """A network backend for httpcore (in its documentation: "Network Backends")."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect. Raises `httpcore.ConnectError` or `httpcore.ConnectTimeout`."""
        with _errors(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                transport, protocol = await asyncio.get_running_loop().create_connection(
                    _Protocol,
                    host,
                    port,
                    local_addr=(local_address, 0) if local_address else None,
                    happy_eyeballs_delay=None if _is_address(host) else _NEXT_ADDRESS_S,
                )
        for option in socket_options or ():
            transport.get_extra_info("socket").setsockopt(*option)
        return _Stream(transport, protocol)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Protocol(asyncio.Protocol):
    """Keeps received data until it is read, and pauses the transport when it holds `BUFFER_BYTES`."""

    def __init__(self) -> None:
        self.is_ended = False
        self.error: Exception | None = None
        self._transport: asyncio.Transport | None = None
        self._arrived: list[bytes] = []
        self._size = 0
        self._is_writable = True
        self._waiting: set[asyncio.Future[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        # A write ends when the system has taken the data, so that memory holds it once. The limit is not 0,
        # with which asyncio's TLS pauses although everything was written.
        transport.set_write_buffer_limits(high=1)

    def data_received(self, data: bytes) -> None:
        self._arrived.append(data)
        self._size += len(data)
        if self._size >= BUFFER_BYTES and self._transport:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self.is_ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_ended, self.error = True, exc
        self._wake()

    def pause_writing(self) -> None:
        self._is_writable = False

    def resume_writing(self) -> None:
        self._is_writable = True
        self._wake()

    @property
    def is_readable(self) -> bool:
        return self.is_ended or bool(self._arrived)

    async def read(self) -> bytes:
        """Return the received data, empty at the end. Raises the error that ended the connection."""
        while not self.is_readable:
            await self._change()
        data = self._arrived[0] if len(self._arrived) == 1 else b"".join(self._arrived)
        if not data and self.error:
            raise self.error
        if self._size >= BUFFER_BYTES and self._transport and not self.is_ended:
            self._transport.resume_reading()
        self._arrived, self._size = [], 0
        return data

    async def written(self) -> None:
        """Wait until the system has taken all data. Raises `ConnectionError` if the connection has ended."""
        while not self._is_writable:
            self.raise_if_ended()
            await self._change()

    def raise_if_ended(self) -> None:
        """Raise `ConnectionError` when the connection has ended."""
        if self.is_ended:
            raise ConnectionError(str(self.error or "the server has closed the connection"))

    async def _change(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, transport: asyncio.Transport, protocol: _Protocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._socket = transport.get_extra_info("socket")

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Return the received data, even more than `max_bytes`: httpcore's parser takes any length.

        Raises `httpcore.ReadError` or `httpcore.ReadTimeout`.
        """
        with _errors(httpcore.ReadTimeout, httpcore.ReadError):
            async with asyncio.timeout(timeout):
                return await self._protocol.read()

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write all of `buffer`. Raises `httpcore.WriteError` or `httpcore.WriteTimeout`."""
        with _errors(httpcore.WriteTimeout, httpcore.WriteError):
            self._protocol.raise_if_ended()
            self._transport.write(memoryview(buffer))  # slicing a memoryview copies nothing
            async with asyncio.timeout(timeout):
                await self._protocol.written()

    async def aclose(self) -> None:
        try:
            if not self._transport.is_closing():  # a second `close` makes asyncio's TLS lose its socket
                self._transport.close()
                await asyncio.sleep(0)
        finally:
            self._transport.abort()  # `close` alone would wait for a server that does not answer
        # the socket is closed in the next steps of the loop, which may be its last, and no event tells when
        while self._socket.fileno() >= 0:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Return the encrypted stream. Raises `httpcore.ConnectError` or `httpcore.ConnectTimeout`."""
        protocol = _Protocol()
        try:
            with _errors(httpcore.ConnectTimeout, httpcore.ConnectError):
                self._protocol.raise_if_ended()  # asyncio would wait for the server's answer
                async with asyncio.timeout(timeout):
                    transport = await asyncio.get_running_loop().start_tls(
                        self._transport, protocol, ssl_context, server_hostname=server_hostname
                    )
                    if transport is None:
                        raise ConnectionError("the server has closed it")  # noqa: TRY301 - not one of TLS
        except BaseException:
            self._transport.abort()
            raise
        protocol.connection_made(transport)
        return _Stream(transport, protocol)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # httpcore does not use an idle connection again that its server has closed
            return self._protocol.is_readable
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))


def _is_address(host: str) -> bool:
    """Whether the host is an IP address and needs no race, whose socket Python 3.11 loses if cancelled."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@contextmanager
def _errors(timeout: type[httpcore.TimeoutException], error: type[httpcore.NetworkError]) -> Iterator[None]:
    """Raise httpcore's exceptions in place of the system's, and of those for a name that no host has."""
    try:
        yield
    except TimeoutError as caught:  # an `OSError`, too
        raise timeout(str(caught)) from caught
    except (OSError, ValueError) as caught:  # a name may have no IDNA form, or one that TLS refuses
        raise error(str(caught)) from caught
