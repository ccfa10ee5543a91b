"""A TCP proxy on loopback that can cut its connections, in front of one server or several."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

Targets = Callable[[], Sequence[int]]

_CHUNK_BYTES = 64 * 1024


class TcpProxy:
    """Forwards connections in turn to those ports on loopback that `targets` returns and that accept them.

    With `tls` the proxy speaks TLS to its clients only. `change` is applied to what the servers send.
    """

    def __init__(
        self,
        targets: Targets,
        *,
        tls: ssl.SSLContext | None = None,
        change: Callable[[bytes], bytes] = bytes,
        place: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self._host, self.port = place
        self._targets = targets
        self._tls = tls
        self._change = change
        self._turn = itertools.count()
        self._is_cut = False
        self._open: set[asyncio.StreamWriter] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def cut(self) -> None:
        """Break every connection and accept none until `mend`."""
        self._is_cut = True
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        """Accept connections again."""
        self._is_cut = False

    async def listen(self) -> None:
        """Listen on a free port, and after `close` on the same port again."""
        self._server = await asyncio.start_server(self._accept, self._host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop listening; open connections stay."""
        if self._server:
            self._server.close()

    @asynccontextmanager
    async def run(self) -> AsyncIterator["TcpProxy"]:
        """Listen until the block ends."""
        await self.listen()
        try:
            yield self
        finally:
            self.close()
            self.cut()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        self._open.add(writer)
        try:
            if not self._is_cut and (far := await self._connect()):
                await self._join(reader, writer, *far)
        finally:
            self._open.discard(writer)
            self._running.discard(task)
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        ports = self._targets()
        for _ in ports:
            with suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", ports[next(self._turn) % len(ports)])
        return None

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        self._open.add(far_writer)
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer, self._change))
        except OSError:
            return
        finally:
            self._open.discard(far_writer)
            far_writer.transport.abort()


async def _pump(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, change: Callable[[bytes], bytes] = bytes
) -> None:
    while chunk := await source.read(_CHUNK_BYTES):
        target.write(change(chunk))
        await target.drain()
    if target.can_write_eof():
        target.write_eof()
