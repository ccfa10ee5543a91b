"""Decides, for all our HTTP clients, which proxy leads to a server."""

import ipaddress
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from stemdrop.http.host_names import is_host_name
from stemdrop.http.public_addresses import is_public

# Names that exist on private networks only (RFC 6761, 6762, 8375; `.internal` is ICANN's) or by custom.
_PRIVATE_ZONES = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".localdomain")
_SCHEMES = ("http", "https", "socks5", "socks5h")
UNQUOTED = "quote these characters in its password: # as %23, / as %2F, ? as %3F, @ as %40"


@dataclass(frozen=True)
class Proxies:
    """The proxies' URLs, empty for none, and the servers that need no proxy, as in the variable NO_PROXY.

    Loopback, private addresses and private names, and so our own services, are never reached by a proxy.
    """

    http: str = ""
    https: str = ""
    no_proxy: str = ""

    def __repr__(self) -> str:
        return f"Proxies({bool(self.http)}, {bool(self.https)})"  # the URLs may hold passwords

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read the usual variables, in lower case too. Raises `ValueError`, which names a wrong one."""
        values = {}
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            try:
                values[name] = read_proxy(environ.get(name.lower()) or environ.get(name) or "")
            except ValueError as error:
                raise ValueError(f"{name} is wrong: {error}") from None
        no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        every = values["ALL_PROXY"]
        return cls(values["HTTP_PROXY"] or every, values["HTTPS_PROXY"] or every, no_proxy)

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(url for url in (self.https, self.http) if url))

    def proxy_for(self, scheme: str, host: str, port: int | None = None) -> str:
        """Return the proxy's URL, or an empty text for a direct connection."""
        url = {"http": self.http, "https": self.https}.get(scheme, "")
        if not url:
            return ""
        host, port = host.strip("[]").rstrip(".").lower(), port or (443 if scheme == "https" else 80)
        is_direct = is_inside(host) or any(_matches(it, host, port) for it in _entries(self.no_proxy))
        return "" if is_direct else url


DIRECT = Proxies()


def read_proxy(value: str) -> str:
    """Return a proxy's URL; without a scheme it is `http`, and GNOME's `socks` is SOCKS 5.

    Raises `ValueError`, whose text does not repeat the value.
    """
    if not value.strip():
        return ""
    scheme, mark, rest = value.strip().partition("://")
    scheme, rest = (scheme.lower(), rest) if mark else ("http", scheme)
    scheme = "socks5" if scheme == "socks" else scheme
    check_quoting(rest)
    user, at, server = rest.rstrip("/").rpartition("@")
    is_server = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d{1,5})?", server, re.ASCII)
    with suppress(ValueError):  # its text may hold the password
        url = f"{scheme}://{user}{at}{server}"
        parts = urlsplit(url)
        if scheme in _SCHEMES and is_server and parts.port != 0 and is_host_name(parts.hostname or ""):
            return url
    raise ValueError("must be http://host:port, https://host:port, socks5://host:port or socks5h://host:port")


def check_quoting(rest: str) -> None:
    """Raise `ValueError` if the part of a URL after :// has reserved characters in its user or password."""
    netloc = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "#" in rest or rest.count("@") > min(1, netloc.count("@")):
        raise ValueError(UNQUOTED)


def is_inside(host: str) -> bool:
    """Whether a host is a private address, in any spelling, or a name of a private network."""
    host = host.strip("[]").rstrip(".").lower()
    address = _literal(host)
    return not is_public(address) if address else "." not in host or host.endswith(_PRIVATE_ZONES)


def _literal(host: str) -> str:
    """Return the address if the host is one, also as `127.1` or `0x7f000001` (inet_aton(3)); else empty."""
    with suppress(ValueError):
        return str(ipaddress.ip_address(host.partition("%")[0]))
    with suppress(OSError, UnicodeError):
        return socket.inet_ntoa(socket.inet_aton(host))
    return ""


def _entries(no_proxy: str) -> list[str]:
    return [entry for entry in no_proxy.lower().replace(",", " ").replace(";", " ").split() if entry]


def _matches(entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY names the server: `*`, a name, address or range, perhaps with port."""
    if entry == "*":
        return True
    entry = entry.rpartition("://")[2]
    with suppress(ValueError):
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
        address = _literal(host)
        return bool(address) and ipaddress.ip_address(address) in network
    name, _, wanted = entry.rpartition(":")
    if name and wanted.isdecimal() and int(wanted) != port:
        return False
    name = (name if name and wanted.isdecimal() else entry).strip("[]").removeprefix("*").lstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))
