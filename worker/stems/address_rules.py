"""Decides from which URLs and addresses stems may be fetched: public ones, and those the operator allows.

`worker.stems.checked_backend` applies the rules to each connection.
"""

from collections.abc import Collection, Iterable

import httpx

from stemdrop.errors import AddressRefused
from stemdrop.http.public_addresses import Network, is_allowed

_DEFAULT_PORTS = {"http": 80, "https": 443}


class AddressRules:
    """Allows public addresses over HTTPS, and what the operator has named.

    The origins of `api_urls` and `hosts` (`host` or `host:port`) may be private and use HTTP. Addresses in
    `networks` are allowed although they are not public.
    """

    def __init__(
        self, api_urls: Iterable[str], hosts: Iterable[str], networks: Collection[Network] = ()
    ) -> None:
        self._origins = frozenset(_origin(httpx.URL(url)) for url in api_urls)
        self._hosts = frozenset(hosts)
        self._networks = networks

    def read(self, url: str, base: httpx.URL | None = None) -> httpx.URL:
        """Return the URL to request; `url` may be relative to `base`. Raises `AddressRefused`."""
        try:
            read = base.join(url) if base else httpx.URL(url)
            read = read.copy_with(host=_host(read), username=None, password=None)
        except (httpx.InvalidURL, ValueError) as error:
            raise AddressRefused("the URL cannot be read") from error
        scheme, host, port = _origin(read)
        if scheme not in _DEFAULT_PORTS or not host:
            raise AddressRefused(f"{scheme or 'no'} scheme")
        is_allowed = _origin(read) in self._origins or self._is_named(host, port)
        if not is_allowed and (scheme, port) != ("https", 443):
            raise AddressRefused(f"{host} may be fetched from over HTTPS only")
        return read

    def check(self, host: str, port: int, addresses: Iterable[str]) -> None:
        """Raise `AddressRefused` if any address of the host is not public and the host is not allowed."""
        host = host.lower()
        if (host, port) in {origin[1:] for origin in self._origins} or self._is_named(host, port):
            return
        if not all(is_allowed(address, self._networks) for address in addresses):
            raise AddressRefused(f"{host} is not a public address")

    def _is_named(self, host: str, port: int) -> bool:
        return bool(self._hosts & {host, f"{host}:{port}"})


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, _host(url).lower(), url.port or _DEFAULT_PORTS.get(url.scheme, 0)


def _host(url: httpx.URL) -> str:
    # `raw_host` has international names in their ASCII form, as headers and certificates do
    return url.raw_host.decode().rstrip(".")
