"""Requests to servers, and the explanation of why a server does not answer."""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from stemdrop.doctor.context import CheckContext
from stemdrop.errors import StemdropError
from stemdrop.observability.printable_text import printable

# No server that the doctor asks sends more.
MAX_RESPONSE_BYTES = 256 * 1024

_CHECK_DNS = "check this machine's DNS servers (/etc/resolv.conf)"
_NO_SUCH_NAME = "correct it in the settings, or check this machine's internet connection"

_RIGHT_SERVER = "is it the right server?"
_SERVE_CHAIN = "use a certificate of a public authority, and serve its whole chain (certbot: `fullchain.pem`)"
# By OpenSSL's verify code: X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED, _HOSTNAME_MISMATCH and
# _IP_ADDRESS_MISMATCH.
_CERTIFICATE_ADVICE = {
    9: "check the clocks of this machine and of the server",
    10: "renew the certificate, or let a proxy renew it automatically (Caddy does)",
    62: "get a certificate for exactly this name",
    64: "write the name in PUBLIC_URL that the certificate is for",
}


class ServerUnreachable(StemdropError):
    """A server does not answer; the text says why, as the end of a sentence, and `advice` what to do."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(why)
        self.advice = advice


def host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def origin(url: str) -> str:
    """Return an HTTP URL without path, user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


async def look_up(host: str, port: int, timeout_s: float, advice: str = _NO_SUCH_NAME) -> list[str]:
    """Return a name's addresses. Raises `ServerUnreachable`, with `advice` if the name does not exist."""
    try:
        async with asyncio.timeout(timeout_s):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise ServerUnreachable(f"the DNS lookup of {host} took over {timeout_s:g} s", _CHECK_DNS) from None
    except (OSError, UnicodeError) as error:
        if getattr(error, "errno", 0) == socket.EAI_AGAIN:
            raise ServerUnreachable(f"no DNS server answers for {host}", _CHECK_DNS) from error
        raise ServerUnreachable(f"the name {host} does not resolve", advice) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def proxy_of(context: CheckContext, url: str) -> str:
    """Return the proxy that leads to a server, without user and password; empty if there is none."""
    host, port = host_and_port(url)
    proxy = context.settings.proxies.proxy_for(urlsplit(url).scheme, host, port)
    return origin(proxy) if proxy else ""


async def resolve(context: CheckContext, url: str) -> None:
    """Check that a server's name resolves, unless a proxy resolves it. Raises `ServerUnreachable`."""
    host, port = host_and_port(url)
    if not proxy_of(context, url):
        await look_up(host, port, context.timeouts.lookup_s)


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    url: httpx.URL
    headers: httpx.Headers
    body: bytes
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def field(self, name: str) -> str:
        value = self.json.get(name)
        return value if isinstance(value, str) else ""


async def response_of(http: httpx.AsyncClient, method: str, url: str, **request: Any) -> Response:
    """Send a request. Raises httpx's errors, and `ServerUnreachable` for a response that cannot be read."""
    began, body = time.perf_counter(), bytearray()
    try:
        async with http.stream(method, url, **request) as response:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_RESPONSE_BYTES:
                    raise ServerUnreachable("its response does not end", _RIGHT_SERVER)
    except UnicodeError as error:  # httpx also reads where a redirect leads
        raise ServerUnreachable("it redirects to a host whose name is invalid", _RIGHT_SERVER) from error
    seconds = time.perf_counter() - began
    return Response(response.status_code, response.url, response.headers, bytes(body), seconds)


async def send(
    context: CheckContext, method: str, url: str, *, timeout_s: float = 0, **request: object
) -> Response:
    """Resolve the server's name and send a request. Raises `ServerUnreachable`."""
    await resolve(context, url)
    connect_s = context.timeouts.connect_s
    timeout_s = timeout_s or context.timeouts.answer_s
    timeout = httpx.Timeout(timeout_s, connect=connect_s)
    try:
        async with asyncio.timeout(timeout_s + connect_s):
            return await response_of(context.http, method, url, timeout=timeout, **request)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise explained(error, timeout_s, proxy_of(context, url)) from error


def explained(error: BaseException, timeout_s: float, proxy: str = "") -> ServerUnreachable:
    """Explain why a request, sent through `proxy` if there is one, failed."""
    if proxy and isinstance(error, httpx.ProxyError | httpx.ConnectError | httpx.ConnectTimeout):
        advice = "check HTTPS_PROXY and ALL_PROXY (address, user, password), or name the server in NO_PROXY"
        return ServerUnreachable(f"the proxy {proxy} does not lead to it: {quoted(str(error))}", advice)
    if isinstance(error, httpx.ConnectTimeout):
        return ServerUnreachable("the connection timed out", "does a firewall block this machine?")
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return ServerUnreachable(f"it connects but did not answer within {timeout_s:g} s", "look at its log")
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ServerUnreachable(*certificate_error(cause))
        if isinstance(cause, ssl.SSLError):
            return ServerUnreachable("it does not speak TLS there", "correct the port, or `https` to `http`")
        if isinstance(cause, ConnectionRefusedError):
            return ServerUnreachable("it refuses connections", "is it running, and at this port?")
    if isinstance(error, httpx.ConnectError):
        return ServerUnreachable("no connection can be made", "check network, firewall and proxy")
    return ServerUnreachable(f"its response broke off ({type(error).__name__})", "look at its log")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def certificate_error(error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    """Return what is wrong with the certificate, in OpenSSL's words, and the advice."""
    advice = _CERTIFICATE_ADVICE.get(error.verify_code, _SERVE_CHAIN)
    return f"its certificate is refused: {error.verify_message}", advice


def quoted(text: str, most: int = 80) -> str:
    """Return a server's words on one printable line of at most `most` characters."""
    words = printable(text)
    return words if len(words) <= most else f"{words[: most - 1]}…"
