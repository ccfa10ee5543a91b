"""Connects only to addresses that `AddressRules` allow.

A host is resolved once, and the connection goes to an address that was checked, so that DNS rebinding has no
effect. httpcore does TLS and HTTP.
"""

import socket
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain, zip_longest

import anyio
import anyio.to_thread
import httpcore

from stemdrop.errors import AddressRefused, FetchFailed
from stemdrop.http.network import AsyncioBackend
from worker.stems.address_rules import AddressRules

# The timeout for one address if the host has further ones: an address family may be unreachable.
ADDRESS_TIMEOUT_S = 2
# More than deliveries fetch stems at once. Lookups have their own threads, because a hostile server may make
# a lookup slow, and a lookup cannot be cancelled.
LOOKUPS_AT_ONCE = 40


class CheckedConnections(httpcore.AsyncNetworkBackend):
    """A network backend for httpcore (in its documentation: "Network Backends")."""

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules
        self._direct = AsyncioBackend()
        self._lookups = anyio.CapacityLimiter(LOOKUPS_AT_ONCE)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to an allowed address of the host.

        Raises `AddressRefused`, `FetchFailed` if the name does not resolve, or httpcore's exceptions.
        """
        connect = partial(
            self._direct.connect_tcp, port=port, local_address=local_address, socket_options=socket_options
        )
        try:
            with anyio.fail_after(timeout):
                addresses = await self._resolve(host, port)
                self._rules.check(host, port, addresses)
                for address in addresses[:-1]:
                    try:
                        return await connect(address, timeout=ADDRESS_TIMEOUT_S)
                    except (httpcore.ConnectError, httpcore.ConnectTimeout):
                        continue
                return await connect(addresses[-1])
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"{host} does not answer") from error

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefused("a Unix socket is not a public address")

    async def sleep(self, seconds: float) -> None:
        await self._direct.sleep(seconds)

    async def _resolve(self, host: str, port: int) -> Sequence[str]:
        """Return at least one address; families alternate, and the system's preferred one comes first."""
        resolve = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await anyio.to_thread.run_sync(resolve, abandon_on_cancel=True, limiter=self._lookups)
        except (OSError, UnicodeError) as error:
            raise FetchFailed(f"{host} does not resolve") from error
        families: dict[int, list[str]] = {}
        for family, _, _, _, address in found:
            families.setdefault(family, []).append(str(address[0]))
        addresses = [each for each in chain(*zip_longest(*families.values())) if each]
        if not addresses:
            raise FetchFailed(f"{host} does not resolve")
        return addresses
