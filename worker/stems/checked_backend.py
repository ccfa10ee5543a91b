"""Connections to checked addresses only.

A name is looked up once, where the connection is made, and the connection goes to an address that was
checked: a name that means another one a moment later (rebinding) gains nothing. Certificates and all that is
said over the connection remain the library's business.
"""

import socket
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain, zip_longest

import anyio
import anyio.to_thread
import httpcore

from stemdrop.errors import AddressRefused, FetchFailed
from worker.stems.address_rules import AddressRules

# So long an address is waited for while the host has others: one family may lead nowhere.
ADDRESS_PATIENCE_S = 2
# More than are fetched at once. A lookup cannot be broken off, and strangers may make theirs last: in threads
# of their own they keep nobody else's waiting.
LOOKUPS_AT_ONCE = 40


class CheckedConnections(httpcore.AsyncNetworkBackend):
    """What httpcore opens its connections with (its documentation: 'Network Backends')."""

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules
        self._direct = httpcore.AnyIOBackend()
        self._lookups = anyio.CapacityLimiter(LOOKUPS_AT_ONCE)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises `AddressRefused`, `FetchFailed` when the name does not resolve, or as the library does."""
        connect = partial(
            self._direct.connect_tcp, port=port, local_address=local_address, socket_options=socket_options
        )
        try:
            with anyio.fail_after(timeout):
                addresses = await self._look_up(host, port)
                self._rules.check(host, port, addresses)
                for address in addresses[:-1]:
                    try:
                        return await connect(address, timeout=ADDRESS_PATIENCE_S)
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
        """Always raises `AddressRefused`."""
        raise AddressRefused("a socket in the file system is no public address")

    async def sleep(self, seconds: float) -> None:
        await self._direct.sleep(seconds)

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        """At least one; both families by turns, that which the system prefers first."""
        look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await anyio.to_thread.run_sync(look, abandon_on_cancel=True, limiter=self._lookups)
        except (OSError, UnicodeError) as error:
            raise FetchFailed(f"{host} does not resolve") from error
        families: dict[int, list[str]] = {}
        for family, _, _, _, where in found:
            families.setdefault(family, []).append(str(where[0]))
        by_turns = [address for address in chain(*zip_longest(*families.values())) if address]
        if not by_turns:
            raise FetchFailed(f"{host} does not resolve")
        return by_turns
