"""Connects only to addresses that `AddressRules` allow.

A host is resolved once, and the connection goes to an address that was checked, so that DNS rebinding has no
effect. TLS and HTTP remain with httpcore.
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

# For one address while the host has others: one address family may be unreachable.
ADDRESS_TIMEOUT_S = 2
# More than stems are fetched at once. Lookups have their own threads: a hostile server may make one slow, and
# it cannot be cancelled.
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
        """Connect. Raises `AddressRefused`, `FetchFailed` without such a name, or httpcore's exceptions."""
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
        """Return at least one address, of both families in turn, beginning with the system's preference."""
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
