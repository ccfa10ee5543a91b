"""The connections of all our HTTP clients: each request goes directly or by the proxy for its server."""

import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpcore
import httpx

from stemdrop.http.network import AsyncioBackend
from stemdrop.http.proxies import Proxies

_ERRORS = (
    *(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError),
    *(httpcore.ProxyError, httpcore.UnsupportedProtocol),
)


class ProxyTransport(httpx.AsyncBaseTransport):
    """Sends each request by the proxy that `proxies` names for its server.

    httpx's own transport takes neither connection pools nor a network backend.
    """

    def __init__(self, proxies: Proxies, limits: httpx.Limits, verify: ssl.SSLContext | None) -> None:
        self._proxies = proxies
        self._pools = connection_pools(
            proxies,
            verify=verify,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        pool = self._pools[self._proxies.proxy_for(url.scheme, url.raw_host.decode(), url.port)]
        with _errors_of_httpx():
            answer = await pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(
                        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of an answer of httpcore."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """Raise httpx's exceptions in place of httpcore's, which have the same names."""
    try:
        yield
    except _ERRORS as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error


def client_options(
    proxies: Proxies, *, limits: httpx.Limits | None = None, verify: ssl.SSLContext | None = None
) -> dict[str, Any]:
    """Return the options of an `httpx.AsyncClient` that obeys `proxies` and not the environment's variables.

    `limits` default to httpx's, `verify` to the certificates that SSL_CERT_FILE or certifi name.
    """
    limits = limits or httpx.Limits(max_connections=100, max_keepalive_connections=20)
    transport = ProxyTransport(proxies, limits, verify)
    return {"transport": transport, "trust_env": False}


def connection_pools(
    proxies: Proxies,
    *,
    direct: httpcore.AsyncNetworkBackend | None = None,
    verify: ssl.SSLContext | None = None,
    **options: Any,
) -> dict[str, httpcore.AsyncConnectionPool]:
    """Return a pool of connections for each proxy, by its URL, and one for direct connections, by `""`.

    `direct` is the network backend of direct connections. Some callers use the pools without an httpx client,
    which keeps cookies and may decompress a few bytes into gigabytes.
    """
    backend, trusted = AsyncioBackend(), verify or trusted_certificates()
    ways: dict[str, httpcore.Proxy | None] = {"": None, **{url: _proxy(url) for url in proxies.urls}}
    return {
        url: httpcore.AsyncConnectionPool(
            ssl_context=trusted,
            proxy=proxy,
            network_backend=backend if proxy else direct or backend,
            **options,
        )
        for url, proxy in ways.items()
    }


def _proxy(url: str) -> httpcore.Proxy:
    proxy = httpx.Proxy(url)
    return httpcore.Proxy(str(proxy.url), auth=proxy.raw_auth)


def trusted_certificates() -> ssl.SSLContext:
    """Return the shared context with the certificates of SSL_CERT_FILE or certifi, which are read once."""
    return _read_certificates(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _read_certificates(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()
