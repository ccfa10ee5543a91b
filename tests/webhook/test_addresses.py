"""Which addresses stems may be fetched from: the whole table of those that are not public."""

import socket
from typing import Any

import anyio
import httpx
import pytest

from stemdrop.errors import AddressRefused, FetchFailed
from webhook.addresses import AddressRules, is_public

API = "https://api.example:8443/base"


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
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254"),  # here
        *("10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1"),  # private
        *("169.254.0.1", "169.254.169.254"),  # link-local, and clouds' metadata
        *("100.64.0.1", "100.100.100.200", "100.127.255.255"),  # shared by carriers
        *("192.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.255"),
        *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("2001:db8::1", "100::1", "2001::1", "2001:10::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe"),  # mapped
        *("::127.0.0.1", "::10.0.0.1"),  # compatible
        *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:c0a8:101::"),  # 6to4
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "64:ff9b:1::a00:1"),  # NAT64
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo of a private client
    ],
)
def test_addresses_that_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The outside world's names: name → addresses. Any other does not resolve."""
    known: dict[str, list[str]] = {
        "cdn.example": ["93.184.216.34"],
        "api.example": ["10.0.0.5"],
        "inside.example": ["10.0.0.1"],
        "both.example": ["93.184.216.34", "127.0.0.1"],
        "mapped.example": ["::ffff:169.254.169.254"],
        "linked.example": ["fe80::1%2"],
        "allowed.example": ["192.168.1.1"],
        "nothing.example": [],
    }

    async def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(anyio, "getaddrinfo", look_up)
    return known


RULES = AddressRules(API, ["allowed.example", "other.example:9000"])


async def test_the_connection_goes_to_the_address_that_was_checked(names: dict[str, list[str]]) -> None:
    """So a name that means another address a moment later gains nothing."""
    hop = await RULES.check("https://cdn.example/a b.mp3?x=1")
    names["cdn.example"] = ["127.0.0.1"]
    assert hop.url.host == "93.184.216.34"
    assert (hop.host_header, hop.sni_hostname) == ("cdn.example", "cdn.example")
    assert hop.url.raw_path == b"/a%20b.mp3?x=1"


@pytest.mark.parametrize(
    "url",
    [
        "https://inside.example/a.mp3",
        "https://both.example/a.mp3",
        "https://mapped.example/a.mp3",
        "https://linked.example/a.mp3",
        "http://cdn.example/a.mp3",
        "https://cdn.example:8443/a.mp3",
        "https://cdn.example:80/a.mp3",
        "https://cdn.example:22/a.mp3",
        "ftp://cdn.example/a.mp3",
        "file:///etc/passwd",
        "gopher://cdn.example/",
        "data:audio/mpeg;base64,AAAA",
        "//cdn.example/a.mp3",
        "/a.mp3",
        "cdn.example/a.mp3",
        "https://",
        "https:///a.mp3",
        "https://[::1/a.mp3",
        "https://cdn.example:99999/a.mp3",
        "",
        "\x00",
        # what the provider's own host may, its neighbours may not
        "http://api.example:8443/a.mp3",
        "https://api.example/a.mp3",
        "https://api.example.evil.example/a.mp3",
        "http://other.example:9001/a.mp3",
    ],
)
async def test_refused(names: dict[str, list[str]], url: str) -> None:
    names |= {"api.example.evil.example": ["10.0.0.1"], "other.example": ["10.0.0.1"]}
    with pytest.raises(AddressRefused):
        await RULES.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/a.mp3",
        "https://[::1]/a.mp3",
        "https://[::ffff:127.0.0.1]/a.mp3",
        "https://2130706433/a.mp3",
        "https://0x7f.1/a.mp3",
        "https://127.1/a.mp3",
        "https://0177.0.0.1/a.mp3",
        "https://0/a.mp3",
        "https://169.254.169.254/latest/meta-data/",
        "https://localhost/a.mp3",
        "https://user:word@127.0.0.1/a.mp3",
        "https://cdn.example@127.0.0.1/a.mp3",
    ],
)
async def test_no_spelling_of_an_inner_address_gets_through(url: str) -> None:
    """With this machine's own resolver."""
    with pytest.raises(AddressRefused):
        await RULES.check(url)


@pytest.mark.parametrize(
    ("url", "host_header"),
    [
        ("https://api.example:8443/a.mp3", "api.example:8443"),
        ("http://allowed.example/a.mp3", "allowed.example"),
        ("https://ALLOWED.example:9999/a.mp3", "allowed.example:9999"),
        ("http://allowed.example./a.mp3", "allowed.example."),
        ("http://other.example:9000/a.mp3", "other.example:9000"),
    ],
)
async def test_the_api_and_what_the_operator_allowed_may_be_private(
    names: dict[str, list[str]], url: str, host_header: str
) -> None:
    names |= {"other.example": ["10.0.0.9"], "allowed.example.": ["192.168.1.1"]}
    hop = await RULES.check(url)
    assert hop.host_header == host_header


@pytest.mark.parametrize("url", ["https://bücher.example/ä.mp3", "https://xn--bcher-kva.example/ä.mp3"])
async def test_an_international_name_is_sent_in_its_ascii_form(names: dict[str, list[str]], url: str) -> None:
    names["xn--bcher-kva.example"] = ["93.184.216.34"]
    hop = await RULES.check(url)
    assert hop.url.host == "93.184.216.34"
    assert (hop.host_header, hop.sni_hostname) == ("xn--bcher-kva.example", "xn--bcher-kva.example")
    request = httpx.Request("GET", hop.url, headers={"Host": hop.host_header})
    assert request.headers["host"] == "xn--bcher-kva.example"


async def test_a_trailing_dot_is_of_the_host_header_only(names: dict[str, list[str]]) -> None:
    hop = await RULES.check("https://cdn.example./a.mp3")
    assert (hop.host_header, hop.sni_hostname) == ("cdn.example.", "cdn.example")


async def test_credentials_in_a_url_are_dropped(names: dict[str, list[str]]) -> None:
    hop = await RULES.check("https://user:word@cdn.example/a.mp3")
    assert hop.url.userinfo == b""
    assert str(hop.url) == "https://93.184.216.34/a.mp3"


@pytest.mark.parametrize("name", ["unknown.example", "nothing.example"])
async def test_a_name_that_does_not_resolve_may_do_so_later(names: dict[str, list[str]], name: str) -> None:
    with pytest.raises(FetchFailed) as failed:
        await RULES.check(f"https://{name}/a.mp3")
    assert not isinstance(failed.value, AddressRefused)
