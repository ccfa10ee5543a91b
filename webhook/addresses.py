"""Which addresses stems may be fetched from: only public ones, unless the operator allowed the host.

Checked where the connection is made: the name is resolved here, and the connection goes to the very address
that was checked, so a name that resolves differently a moment later (rebinding) gains nothing.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

import anyio
import httpx

from stemdrop.errors import AddressRefused, FetchFailed

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Where networks without IPv4 put the IPv4 addresses of the open internet (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Hop:
    """One checked request: `url` with the address in place of the name, and what names the host again."""

    url: httpx.URL
    host_header: str
    sni_hostname: str


class AddressRules:
    """`api_url`'s origin and `hosts` (`host` or `host:port`) are allowed although private, and over HTTP."""

    def __init__(self, api_url: str, hosts: Iterable[str]) -> None:
        self._origin = _origin(httpx.URL(api_url))
        self._hosts = frozenset(hosts)

    async def check(self, url: str) -> Hop:
        """Resolve and check. Raises `AddressRefused`, or `FetchFailed` when the name does not resolve."""
        try:
            target = httpx.URL(url)
        except (httpx.InvalidURL, ValueError) as error:
            raise AddressRefused("the URL cannot be read") from error
        scheme, host, port = _origin(target)
        if scheme not in _DEFAULT_PORTS or not host:
            raise AddressRefused(f"{scheme or 'no'} scheme")
        is_allowed = _origin(target) == self._origin or bool(self._hosts & {host, f"{host}:{port}"})
        if not is_allowed and (scheme, port) != ("https", 443):
            raise AddressRefused(f"{host} may be fetched from over HTTPS only")
        addresses = await _resolve(host, port)
        if not is_allowed and not all(is_public(address) for address in addresses):
            raise AddressRefused(f"{host} is not a public address")
        by_address = target.copy_with(host=addresses[0], username=None, password=None)
        return Hop(by_address, target.netloc.decode(), host)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, also where it is wrapped in IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return _is_global(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if ip.is_site_local or (inner and not _is_global(inner)):
            return False
    return _is_global(ip)


def _is_global(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    # raw: international names in their ASCII form, as headers and certificates have them
    return (
        url.scheme,
        url.raw_host.decode().lower().rstrip("."),
        url.port or _DEFAULT_PORTS.get(url.scheme, 0),
    )


async def _resolve(host: str, port: int) -> list[str]:
    try:
        found = await anyio.getaddrinfo(host, port, type=1)  # 1: SOCK_STREAM
    except (OSError, UnicodeError) as error:
        raise FetchFailed(f"{host} does not resolve") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses:
        raise FetchFailed(f"{host} does not resolve")
    return addresses
