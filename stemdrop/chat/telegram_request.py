"""The HTTP requests of python-telegram-bot: over httpcore, with files read from disk piece by piece.

The library's own class renders a form in pieces of 64 kB, each of which passes through four layers.
"""

import json
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlencode

import anyio.to_thread
import httpcore
import httpx
from pydantic import SecretStr
from telegram.error import NetworkError, TelegramError, TimedOut
from telegram.request import BaseRequest, RequestData

from stemdrop.http.clients import connection_pools
from stemdrop.http.proxies import Proxies
from stemdrop.storage.counters import Counters

# So many bytes of a file that is being sent are in memory.
PIECE_BYTES = 512 * 1024
# As long as httpx keeps idle connections, which a server may close.
_KEEP_ALIVE_S = 5.0
# WHATWG's HTML standard, "multipart form data": what names in a part's header must not contain.
_NAME_ESCAPES = str.maketrans({"\n": "%0A", "\r": "%0D", '"': "%22"})
_BROKEN = (
    *(httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError),
    httpcore.UnsupportedProtocol,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The timeouts of a request in seconds: for connecting, each read and write, and a free connection.

    `file_write_s` is used instead of `write_s` for requests with files.
    """

    connect_s: float = 15
    read_s: float = 60
    write_s: float = 60
    file_write_s: float = 300
    pool_s: float = 60


class TelegramRequest(BaseRequest):
    """Requests to the Bot API; notes whether Telegram was reached.

    Removes the token from refusals: some proxies repeat the requested path, which contains it.
    """

    def __init__(
        self, token: str, proxies: Proxies, counters: Counters, connections: int, timeouts: Timeouts
    ) -> None:
        self._secret = SecretStr(token.partition(":")[2])
        self._counters = counters
        self._timeouts = timeouts
        self._proxies = proxies
        self._pools = connection_pools(
            proxies,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_KEEP_ALIVE_S,
        )

    @property
    def read_timeout(self) -> float:
        """The seconds that the library adds to the duration of a long poll."""
        return self._timeouts.read_s

    async def initialize(self) -> None:
        """Do nothing: connections are made when they are needed."""

    async def shutdown(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.aclose()

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: Any = BaseRequest.DEFAULT_NONE,
        write_timeout: Any = BaseRequest.DEFAULT_NONE,
        connect_timeout: Any = BaseRequest.DEFAULT_NONE,
        pool_timeout: Any = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """Make the request. Raises `TimedOut` or `NetworkError`.

        The body of a success stays as it is, since a path on a shared disk may contain the token.
        """
        limits, files = self._timeouts, request_data.multipart_data if request_data else {}
        timeouts = {
            "connect": _or_default(connect_timeout, limits.connect_s),
            "read": _or_default(read_timeout, limits.read_s),
            "write": _or_default(write_timeout, limits.file_write_s if files else limits.write_s),
            "pool": _or_default(pool_timeout, limits.pool_s),
        }
        try:
            status, body = await self._send(url, method, request_data, timeouts)
        except NetworkError:
            self._counters.note_try("telegram", is_reached=False)
            raise
        self._counters.note_try("telegram", is_reached=status < 500)
        return status, body if status < 300 else body.replace(
            self._secret.get_secret_value().encode(), b"***"
        )

    async def _send(
        self, url: str, method: str, data: RequestData | None, timeouts: Mapping[str, float | None]
    ) -> tuple[int, bytes]:
        address = httpx.URL(url)
        headers, content = _body(data)
        proxy = self._proxies.proxy_for(address.scheme, address.raw_host.decode(), address.port)
        try:
            response = await self._pools[proxy].request(
                method,
                httpcore.URL(
                    scheme=address.raw_scheme,
                    host=address.raw_host,
                    port=address.port,
                    target=address.raw_path,
                ),
                headers=[
                    (b"Host", address.netloc),
                    (b"User-Agent", self.USER_AGENT.encode()),
                    (b"Accept-Encoding", b"identity"),  # without it a server may choose (RFC 9110, 12.5.3)
                    *([(b"Authorization", b"Basic " + _login(address))] if address.userinfo else []),
                    *headers,
                ],
                content=content,
                extensions={"timeout": timeouts},
            )
        except httpcore.PoolTimeout as error:
            raise TimedOut("all connections to Telegram are in use, the request was not sent") from error
        except httpcore.TimeoutException as error:
            raise TimedOut from error
        except _BROKEN as error:
            raise NetworkError(f"{type(error).__name__}: {error}") from error
        return response.status, response.content

    @staticmethod
    def parse_json_payload(payload: bytes) -> Any:
        """Parse an answer. Raises `TelegramError`; the library would also log the whole answer."""
        try:
            answer = json.loads(payload.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise TelegramError("Invalid server response")
        return answer


def _or_default(seconds: Any, default_s: float) -> float | None:
    return default_s if seconds is BaseRequest.DEFAULT_NONE else seconds


def _login(address: httpx.URL) -> bytes:
    return b64encode(f"{address.username}:{address.password}".encode())


_Headers = list[tuple[bytes, bytes]]


def _body(data: RequestData | None) -> tuple[_Headers, bytes | AsyncIterator[bytes] | None]:
    """Return the headers and the content of a request with these parameters."""
    if data is None:
        return [], None
    if data.contains_files:
        form = _Form(data)
        return form.headers, form.content()
    return [(b"Content-Type", b"application/x-www-form-urlencoded")], urlencode(data.json_parameters).encode()


class _Form:
    """A form with files (RFC 7578), which are read while they are sent."""

    def __init__(self, data: RequestData) -> None:
        boundary = os.urandom(16).hex()
        self._start = f"--{boundary}\r\n"
        self._end = f"--{boundary}--\r\n".encode()
        self._parts: list[bytes | IO[bytes]] = list(self._render(data))
        length = sum(map(_length, self._parts))
        self.headers = [
            (b"Content-Type", f"multipart/form-data; boundary={boundary}".encode()),
            (b"Content-Length", str(length).encode()),
        ]

    async def content(self) -> AsyncIterator[bytes]:
        """Yield the form in pieces; threads read the files."""
        text = b""
        for part in self._parts:
            if isinstance(part, bytes):
                text += part
                continue
            part.seek(0)
            left = _length(part)
            while left > 0 and (piece := await anyio.to_thread.run_sync(part.read, min(PIECE_BYTES, left))):
                yield text + piece if text else piece
                text = b""
                left -= len(piece)
        yield text

    def _render(self, data: RequestData) -> Iterator[bytes | IO[bytes]]:
        for name, value in data.json_parameters.items():
            yield f"{self._head(name)}\r\n\r\n{value}\r\n".encode()
        for name, (file_name, content, kind) in data.multipart_data.items():
            head = f'{self._head(name)}; filename="{_escaped(file_name)}"\r\nContent-Type: {kind}\r\n\r\n'
            yield head.encode()
            yield content
            yield b"\r\n"
        yield self._end

    def _head(self, name: str) -> str:
        return f'{self._start}Content-Disposition: form-data; name="{_escaped(name)}"'


def _escaped(name: str) -> str:
    return name.translate(_NAME_ESCAPES)


def _length(part: bytes | IO[bytes]) -> int:
    return len(part) if isinstance(part, bytes) else os.fstat(part.fileno()).st_size
