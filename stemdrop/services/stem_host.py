"""Checks, before anything is paid, whether stems could be downloaded from their known host."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from stemdrop.http.public_addresses import Network, is_allowed
from stemdrop.settings import Settings

LOOKUP_S = 5
# The ranges of fake-IP resolvers (mihomo, sing-box, v2ray, Surge).
_FAKE = tuple(map(ipaddress.ip_network, ("198.18.0.0/15", "fc00::/18")))


async def find_stem_host_problem(settings: Settings) -> str:
    """Return why this machine's resolver makes stems unreachable, and what to set; empty if it does not.

    A name that does not resolve now is no problem: the next lookup may succeed.
    """
    host = settings.known_stem_host
    if not host or host in settings.stem_hosts or settings.proxies.proxy_for("https", host):
        return ""
    try:
        async with asyncio.timeout(LOOKUP_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return ""
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    refused = [address for address in addresses if not is_allowed(address, settings.stem_networks)]
    return _explained(host, refused) if refused else ""


def _explained(host: str, refused: Sequence[str]) -> str:
    why = f"{host}, where stems are, resolves to {refused[0]}, which is not public"
    ip = ipaddress.ip_address(refused[0].partition("%")[0])
    if ip.is_loopback or ip.is_unspecified:
        return f"{why}: let your DNS server, which seems to block it, resolve it"
    networks = dict.fromkeys(map(_network, refused))
    return f"{why}; if that is meant (a fake-IP resolver), set STEM_NETWORKS={','.join(map(str, networks))}"


def _network(address: str) -> Network:
    ip = ipaddress.ip_address(address.partition("%")[0])
    known = [network for network in _FAKE if ip in network]
    return known[0] if known else ipaddress.ip_network((ip, 16 if ip.version == 4 else 64), strict=False)
