"""The rule that tells public IP addresses from private ones."""

import ipaddress
from collections.abc import Collection

# IPv4 addresses in the form of networks without IPv4 (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Networks that are not public, although some versions of Python call them global.
_INSIDE = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments (RFC 6890), with the metadata of an older Oracle Cloud
        "192.88.99.0/24",  # relays of 6to4, withdrawn (RFC 7526)
        "168.63.129.16/32",  # Azure's services, seen from its machines (learn.microsoft.com: 'WireServer')
        "3fff::/20",  # documentation (RFC 9637)
    )
]


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_allowed(address: str, networks: Collection[Network]) -> bool:
    """Whether an IP address is public or in one of the networks."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return any(ip in network for network in networks) or is_public(address)


def is_public(address: str) -> bool:
    """Whether an IP address is public, and so is an IPv4 address that is embedded in it."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return _is_global(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if ip.is_site_local or (inner and not _is_global(inner)):
            return False
    return _is_global(ip)


def _is_global(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    is_inside = any(ip in network for network in _INSIDE)
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or is_inside)
