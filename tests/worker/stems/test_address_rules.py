"""The rules for URLs and addresses that stems may be fetched from."""

from ipaddress import ip_network

import httpx
import pytest

from stemdrop.errors import AddressRefused
from stemdrop.http.public_addresses import is_public
from worker.stems.address_rules import AddressRules

RULES = AddressRules(["https://api.example:8443/base"], ["allowed.example", "other.example:9000"])
PUBLIC, PRIVATE = "93.184.216.34", "10.0.0.1"


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "151.101.1.1",
        "2606:4700:4700::1111",
        "2a00:1450:4001:800::200e",
        "64:ff9b::808:808",
    ],
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254"),  # this machine
        *("10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1"),  # private
        *("169.254.0.1", "169.254.169.254"),  # link-local, and the metadata of clouds
        *("100.64.0.1", "100.100.100.200", "100.127.255.255"),  # carrier-grade NAT
        *("192.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.255"),
        *("192.0.0.192", "168.63.129.16", "192.88.99.1"),  # addresses of clouds, and 6to4 relays
        *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("2001:db8::1", "100::1", "2001::1", "2001:10::1", "3fff::1", "5f00::1", "fd20:ce::254"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe"),  # mapped
        *("::127.0.0.1", "::10.0.0.1"),  # compatible
        *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:c0a8:101::"),  # 6to4
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "64:ff9b:1::a00:1"),  # NAT64
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo of a private client
    ],
)
def test_other_addresses_are_refused(address: str) -> None:
    assert not is_public(address)


def test_addresses_in_an_allowed_network_are_allowed() -> None:
    rules = AddressRules(["https://api.example"], [], [ip_network("198.18.0.0/15"), ip_network("fc00::/18")])
    rules.check("cdn.example", 443, ["198.19.255.255", "fc00::1", PUBLIC])
    for address in (PRIVATE, "fd00::1", "127.0.0.1"):
        with pytest.raises(AddressRefused):
            rules.check("cdn.example", 443, ["198.18.0.1", address])
    with pytest.raises(AddressRefused, match="over HTTPS only"):
        rules.read("http://cdn.example/a.mp3")


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.example/a.mp3",
        "http://cdn.example:443/a.mp3",
        "https://cdn.example:8443/a.mp3",
        "https://cdn.example:80/a.mp3",
        "https://cdn.example:22/a.mp3",
        "ftp://cdn.example/a.mp3",
        "wss://cdn.example/a.mp3",
        "file:///etc/passwd",
        "unix:/run/docker.sock",
        "gopher://cdn.example/",
        "data:audio/mpeg;base64,AAAA",
        "//cdn.example/a.mp3",
        "/a.mp3",
        "cdn.example/a.mp3",
        "https://",
        "https:///a.mp3",
        "https://./a.mp3",
        "https://[::1/a.mp3",
        "https://cdn.example:99999/a.mp3",
        "https://cdn.example:-443/a.mp3",
        "https://１２７.０.０.１/a.mp3",
        "https://a\u2488com/a.mp3",
        "https://" + "a" * 70_000,
        "",
        "\x00",
        # only the provider's own host is allowed
        "http://api.example:8443/a.mp3",
        "https://api.example:8444/a.mp3",
        "http://api.example.evil.example:8443/a.mp3",
        "http://other.example:9001/a.mp3",
        "http://allowed.example@cdn.example/a.mp3",
    ],
)
def test_urls_that_are_always_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        RULES.read(url)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://cdn.example/a b.mp3?x=1#y", "https://cdn.example/a%20b.mp3?x=1#y"),
        ("HTTPS://CDN.example:443/a.mp3", "https://cdn.example/a.mp3"),
        ("https://api.example:8443/a.mp3", "https://api.example:8443/a.mp3"),
        ("http://allowed.example/a.mp3", "http://allowed.example/a.mp3"),
        ("https://ALLOWED.example:9999/a.mp3", "https://allowed.example:9999/a.mp3"),
        ("http://allowed.example./a.mp3", "http://allowed.example/a.mp3"),
        ("http://other.example:9000/a.mp3", "http://other.example:9000/a.mp3"),
        ("https://user:word@cdn.example/a.mp3", "https://cdn.example/a.mp3"),
        ("https://bücher.example/ä.mp3", "https://xn--bcher-kva.example/%C3%A4.mp3"),
        ("https://xn--bcher-kva.example/a.mp3", "https://xn--bcher-kva.example/a.mp3"),
        ("https://[2606:4700::1111]/a.mp3", "https://[2606:4700::1111]/a.mp3"),
    ],
)
def test_urls_are_normalised(url: str, asked: str) -> None:
    read = RULES.read(url)
    assert f"{read.scheme}://{read.netloc.decode()}{read.raw_path.decode()}" == asked.partition("#")[0]
    assert read.userinfo == b""


@pytest.mark.parametrize(
    ("to", "asked"),
    [
        ("/b.mp3", "https://cdn.example/b.mp3"),
        ("b.mp3?x", "https://cdn.example/a/b.mp3?x"),
        ("//other.example:443/b.mp3", "https://other.example/b.mp3"),
        ("https://cdn.example.", "https://cdn.example"),
    ],
)
def test_a_redirect_may_be_relative(to: str, asked: str) -> None:
    assert RULES.read(to, httpx.URL("https://cdn.example/a/")) == httpx.URL(asked)


@pytest.mark.parametrize(
    ("host", "port", "addresses"),
    [
        ("cdn.example", 443, [PUBLIC]),
        ("api.example", 8443, [PRIVATE]),
        ("allowed.example", 80, [PRIVATE]),
        ("ALLOWED.example", 9999, [PUBLIC, PRIVATE]),
        ("other.example", 9000, ["127.0.0.1"]),
    ],
)
def test_hosts_that_are_allowed_at_these_addresses(host: str, port: int, addresses: list[str]) -> None:
    RULES.check(host, port, addresses)


@pytest.mark.parametrize(
    ("host", "port", "addresses"),
    [
        ("cdn.example", 443, [PRIVATE]),
        ("cdn.example", 443, [PUBLIC, "127.0.0.1"]),
        ("cdn.example", 443, ["::ffff:169.254.169.254", PUBLIC]),
        ("cdn.example", 443, ["fe80::1%2"]),
        ("api.example", 443, [PRIVATE]),
        ("sub.api.example", 8443, [PRIVATE]),
        ("other.example", 9001, [PRIVATE]),
    ],
)
def test_hosts_with_any_private_address_are_refused(host: str, port: int, addresses: list[str]) -> None:
    with pytest.raises(AddressRefused):
        RULES.check(host, port, addresses)
