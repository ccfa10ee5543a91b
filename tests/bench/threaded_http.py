"""HTTP in a thread for each connection: it costs little, and reads a body of any size in little memory."""

import json
import socketserver
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import ClassVar
from urllib.parse import urlsplit

# What is kept of a request's body: in a form, all parameters come before the first file.
_HEAD_BYTES = 65536
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has come in whole. `head` is the beginning of its body."""

    verb: str
    path: str
    content_type: str
    head: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, of JSON unless said otherwise."""

    body: bytes
    content_type: str = "application/json"
    status: str = "200 OK"


def as_json(value: object, status: str = "200 OK") -> Response:
    """Answer with this."""
    return Response(json.dumps(value).encode(), status=status)


@contextmanager
def serve(
    answer: Callable[[Request], Response], failed: Callable[[str], None], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Serve on a free port of loopback, which is yielded; `failed` is told of what cannot be answered."""
    with _Server(("127.0.0.1", 0), _Connection) as server:
        server.answer, server.failed, server.tls = answer, failed, tls
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128
    answer: Callable[[Request], Response]
    failed: Callable[[str], None]
    tls: ssl.SSLContext | None


class _Connection(socketserver.StreamRequestHandler):
    """One connection, which stays open."""

    server: _Server
    rbufsize: ClassVar[int] = _PIECE_BYTES
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Greet with the certificate, if there is one."""
        if self.server.tls:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        """Answer until the client goes."""
        try:
            while line := self.rfile.readline():
                verb, target, _ = line.decode("latin-1").split()
                headers = self._headers()
                request = Request(
                    verb, urlsplit(target).path, headers.get("content-type", ""), self._body(headers)
                )
                self._send(self.server.answer(request))
        except (ConnectionError, ssl.SSLError):
            pass
        except Exception as error:
            self.server.failed(repr(error))

    def _headers(self) -> dict[str, str]:
        headers = {}
        while (line := self.rfile.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return headers

    def _body(self, headers: Mapping[str, str]) -> bytes:
        """Read a body to its end and return its beginning."""
        if headers.get("transfer-encoding") != "chunked":
            return self._read(int(headers.get("content-length", 0)))
        head = b""
        while size := int(self.rfile.readline(), 16):
            piece = self._read(size)
            head += piece[: max(0, _HEAD_BYTES - len(head))]
            self.rfile.readline()
        self.rfile.readline()
        return head

    def _read(self, size: int) -> bytes:
        head = self.rfile.read(min(size, _HEAD_BYTES))
        left = size - len(head)
        while left > 0:
            left -= len(self.rfile.read(min(left, _PIECE_BYTES))) or left
        return head

    def _send(self, response: Response) -> None:
        length, body = len(response.body), response.body
        head = (
            f"HTTP/1.1 {response.status}\r\nContent-Type: {response.content_type}\r\nContent-Length: {length}"
        )
        if length < _HEAD_BYTES:
            self.connection.sendall(f"{head}\r\n\r\n".encode() + body)
        else:
            self.connection.sendall(f"{head}\r\n\r\n".encode())
            self.connection.sendall(body)
