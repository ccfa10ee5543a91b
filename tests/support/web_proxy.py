"""A proxy on loopback that speaks HTTP and SOCKS 5, for networks in which only a proxy leads outside."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field

_OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
_SOCKS_OK = b"\x05\x00\x00\x01" + bytes(6)


@dataclass
class WebProxy:
    """Leads every host to the port on loopback that `target` returns, as if it had resolved the name.

    `asked` holds the hosts as `host:port`. With `password`, clients must send it and the user name `me`.
    """

    target: Callable[[], int]
    password: str = ""
    port: int = 0
    asked: list[str] = field(default_factory=list)

    def url(self, scheme: str) -> str:
        user = f"me:{self.password}@" if self.password else ""
        return f"{scheme}://{user}127.0.0.1:{self.port}"

    @asynccontextmanager
    async def run(self) -> AsyncIterator["WebProxy"]:
        """Listen until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError, asyncio.IncompleteReadError):
            first = await reader.readexactly(1)
            begin = await (
                self._socks(reader, writer) if first == b"\x05" else self._http(first, reader, writer)
            )
            if begin is None:
                return
            there, to_server = await asyncio.open_connection("127.0.0.1", self.target())
            with closing(to_server):
                to_server.write(begin)
                await asyncio.gather(_copy(reader, to_server), _copy(there, writer))

    async def _http(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
        method, where, _ = head.split(" ", 2)
        login = base64.b64encode(f"me:{self.password}".encode()).decode()
        if self.password and f"proxy-authorization: basic {login}".lower() not in head.lower():
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return None
        if method == "CONNECT":
            self.asked.append(where)
            writer.write(_OK)
            return b""
        host, _, path = where.removeprefix("http://").partition("/")
        self.asked.append(host if ":" in host else f"{host}:80")
        return head.replace(where, f"/{path}", 1).encode()

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        """Speak SOCKS 5 (RFC 1928) with names for hosts, and passwords (RFC 1929)."""
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x05\x02" if self.password else b"\x05\x00")
        if self.password:
            user = await reader.readexactly((await reader.readexactly(2))[1])
            word = await reader.readexactly((await reader.readexactly(1))[0])
            is_right = (user, word) == (b"me", self.password.encode())
            writer.write(b"\x01\x00" if is_right else b"\x01\x01")
            if not is_right:
                return None
        *_, kind = await reader.readexactly(4)
        assert kind == 3, "the client resolved the name itself"
        name = await reader.readexactly((await reader.readexactly(1))[0])
        port = int.from_bytes(await reader.readexactly(2))
        self.asked.append(f"{name.decode()}:{port}")
        writer.write(_SOCKS_OK)
        return b""


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(64 * 1024):
            writer.write(chunk)
            await writer.drain()
    writer.close()
