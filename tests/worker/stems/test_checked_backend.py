"""Connections are made to checked addresses only, whatever DNS, redirects and certificates say."""

import shutil
from pathlib import Path

import pytest
from internet import DEAD, DEAD_6, PUBLIC, PUBLIC_6, SILENT_6, NoNamespaces, Played, Zone, play

from stemdrop.errors import AddressRefused, FetchFailed
from worker.stems.address_rules import AddressRules
from worker.stems.checked_backend import CheckedConnections

API, FRIEND = "http://api.test:8000", "friend.test"

ZONE: Zone = {
    "stems.test": [[PUBLIC]],
    "xn--bcher-kva.stems.test": [[PUBLIC]],
    "elsewhere.test": [[PUBLIC]],
    "self.stems.test": [[PUBLIC]],
    "six.stems.test": [[PUBLIC_6]],
    "dead.stems.test": [[DEAD_6, PUBLIC]],
    "silent.stems.test": [[SILENT_6, PUBLIC]],
    "dead-4.stems.test": [[PUBLIC_6, DEAD]],
    "hopeless-6.stems.test": [[SILENT_6, DEAD_6, PUBLIC]],
    "unknown.stems.test": [[DEAD_6]],
    "alias.stems.test": [["=stems.test"]],
    "rebinds.stems.test": [[PUBLIC], ["127.0.0.1"]],
    "rebinds-on-redirect.stems.test": [[PUBLIC], ["10.0.0.1"]],
    "stays.stems.test": [[PUBLIC], ["127.0.0.1"]],
    "leaves.stems.test": [[PUBLIC], ["127.0.0.1"]],
    "returns.stems.test": [["10.0.0.1"], [PUBLIC]],
    "flutters.stems.test": [[PUBLIC], ["10.0.0.1"], [PUBLIC], ["::1"], [PUBLIC]],
    "inside.stems.test": [["10.0.0.1"]],
    "metadata.stems.test": [["169.254.169.254"]],
    "loopback-6.stems.test": [["::1"]],
    "private-6.stems.test": [["fd00::1"]],
    "mapped.stems.test": [["::ffff:127.0.0.1"]],
    "nat64.stems.test": [["64:ff9b::7f00:1"]],
    "zero.stems.test": [["0.0.0.0"]],
    "last-inside.stems.test": [[PUBLIC, "10.0.0.1"]],
    "first-inside.stems.test": [["10.0.0.1", PUBLIC]],
    "six-inside.stems.test": [[PUBLIC, "::1"]],
    "four-inside.stems.test": [[PUBLIC_6, "127.0.0.1"]],
    "alias-inside.stems.test": [["=second-alias.test"]],
    "second-alias.test": [["=inside.stems.test"]],
    "alias-rebinds.stems.test": [["=stems.test"], ["=inside.stems.test"]],
    "api.test": [["10.0.0.1"]],
    FRIEND: [["10.0.0.1"]],
}

ARRIVE = {
    "https://stems.test/a.mp3": f"{PUBLIC} stems.test stems.test",
    "https://stems.test:443/a.mp3": f"{PUBLIC} stems.test stems.test",
    "https://stems.test./a.mp3": f"{PUBLIC} stems.test stems.test",
    "https://user:word@stems.test/a.mp3": f"{PUBLIC} stems.test stems.test",
    "https://bücher.stems.test/a.mp3": f"{PUBLIC} xn--bcher-kva.stems.test xn--bcher-kva.stems.test",
    "https://six.stems.test/a.mp3": f"{PUBLIC_6} six.stems.test six.stems.test",
    "https://alias.stems.test/a.mp3": f"{PUBLIC} alias.stems.test alias.stems.test",
    "https://stems.test/to?/a.mp3": f"{PUBLIC} stems.test stems.test",
    "https://stems.test/to?https://six.stems.test/a.mp3": f"{PUBLIC_6} six.stems.test six.stems.test",
    # one address family is unreachable
    "https://dead.stems.test/a.mp3": f"{PUBLIC} dead.stems.test dead.stems.test",
    "https://silent.stems.test/a.mp3": f"{PUBLIC} silent.stems.test silent.stems.test",
    "https://dead-4.stems.test/a.mp3": f"{PUBLIC_6} dead-4.stems.test dead-4.stems.test",
    "https://hopeless-6.stems.test/a.mp3": f"{PUBLIC} hopeless-6.stems.test hopeless-6.stems.test",
}

SPELLINGS_OF_INSIDE = [
    *("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[fd00::1]", "localhost", "LocalHost."),
    *("2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "127.0.1", "0", "0.0.0.0"),
    *("[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]"),
    *("[2002:7f00:1::]", "127.0.0.1.", "user@127.0.0.1", "stems.test@127.0.0.1"),
    *("stems.test:443@127.0.0.1", "127.0.0.1#@stems.test", "127.0.0.1?@stems.test"),
    *("stems.test\\@127.0.0.1", "１２７.０.０.１", "①②⑦.⓪.⓪.①", "127。0。0。1"),
    *("inside.stems.test", "metadata.stems.test", "loopback-6.stems.test", "private-6.stems.test"),
    *("mapped.stems.test", "nat64.stems.test", "zero.stems.test", "alias-inside.stems.test"),
    *("last-inside.stems.test", "first-inside.stems.test", "six-inside.stems.test", "four-inside.stems.test"),
]

REFUSED = [
    *(f"https://{spelling}/a.mp3" for spelling in SPELLINGS_OF_INSIDE),
    *(f"https://stems.test/to?https://{spelling}/a.mp3" for spelling in SPELLINGS_OF_INSIDE),
    *(
        f"https://stems.test/to?http://{name}/a.mp3"
        for name in ("127.0.0.1", "2130706433", "[::1]", "api.test")
    ),
    *(f"https://stems.test/to?//{name}:8000/a.mp3" for name in ("127.0.0.1", "api.test")),
    "http://stems.test/a.mp3",
    "https://stems.test:8000/a.mp3",
    "https://stems.test/to?http://stems.test/a.mp3",
    "https://stems.test/to?https://stems.test:8000/a.mp3",
    "https://stems.test/to?file:///etc/passwd",
    "https://stems.test/to?gopher://127.0.0.1:80/_GET",
    "https://stems.test/to?https://stems.test/to?https://stems.test/to?http://127.0.0.1/",
    # each resolves twice, with another answer the second time
    "https://rebinds.stems.test/break",
    "https://rebinds-on-redirect.stems.test/close-to?/a.mp3",
    "https://alias-rebinds.stems.test/break",
    "https://flutters.stems.test/break",
    "https://returns.stems.test/a.mp3",
    # the operator has allowed one private host, but not its neighbours
    "https://api.test:8000/a.mp3",
    "http://api.test:80/a.mp3",
    "https://api.test/a.mp3",
    "http://10.0.0.1:8000/a.mp3",
    "http://api.test.:8001/a.mp3",
    "http://sub.friend.test/a.mp3",
    f"{API}/to?http://10.0.0.1:8000/a.mp3",
    f"{API}/to?http://127.0.0.1:8000/a.mp3",
    f"{API}/to?http://inside.stems.test/a.mp3",
]

FAIL = {
    "https://elsewhere.test/a.mp3": "certificate is not valid for 'elsewhere.test'",
    f"https://{PUBLIC}/a.mp3": f"certificate is not valid for '{PUBLIC}'",
    "https://self.stems.test/a.mp3": "self-signed certificate",
    "https://unknown.stems.test/a.mp3": "ConnectError",
    "https://[fe80::1%25lo]/a.mp3": "does not resolve",
    "https://no-such-name.test/a.mp3": "no-such-name.test does not resolve",
    "https://.stems.test/a.mp3": "does not resolve",
    f"https://{'a' * 64}.test/a.mp3": "does not resolve",
}

OTHERS = {
    # each connection is checked anew
    "kept": ["https://stays.stems.test/a.mp3", "https://stays.stems.test/b.mp3"],
    "closed": ["https://leaves.stems.test/close", "https://leaves.stems.test/b.mp3"],
    # one address, one certificate, two names
    "shared": ["https://stems.test/a.mp3", "https://elsewhere.test/a.mp3"],
    "allowed": [f"{API}/a.mp3", f"http://{FRIEND}/a.mp3", f"http://{FRIEND}:8000/a.mp3", f"{API}/to?/b.mp3"],
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    """Play all cases in one process; returns them by their URL."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no `openssl` to make certificates with")
    cases = {url: [url] for url in (*ARRIVE, *REFUSED, *FAIL)} | OTHERS
    try:
        return play(tmp_path_factory.mktemp("internet"), ZONE, cases, api_url=API, hosts=[FRIEND])
    except NoNamespaces as why:
        pytest.skip(f"this machine allows no network namespaces: {why}")


@pytest.mark.parametrize("url", ARRIVE)
def test_a_stem_of_a_public_host_arrives(played: dict[str, Played], url: str) -> None:
    assert played[url].outcomes == [ARRIVE[url]]


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_leads_to_a_private_address_is_refused(played: dict[str, Played], url: str) -> None:
    (outcome,) = played[url].outcomes
    assert outcome.startswith("AddressRefused: ")


@pytest.mark.parametrize("url", FAIL)
def test_a_host_with_a_wrong_certificate_is_refused(played: dict[str, Played], url: str) -> None:
    (outcome,) = played[url].outcomes
    assert outcome.startswith("FetchFailed: ")
    assert FAIL[url] in outcome


def test_the_other_address_family_is_tried_early(played: dict[str, Played]) -> None:
    assert len(played["https://hopeless-6.stems.test/a.mp3"].asked) == 2


def test_no_connection_is_made_to_a_private_address(played: dict[str, Played]) -> None:
    places = {f"{address} 443" for address in (PUBLIC, PUBLIC_6, DEAD_6, SILENT_6)}
    for case, what in played.items():
        allowed = places | {"10.0.0.1 8000"} if case.startswith(API) else places
        assert case == "allowed" or set(what.asked) <= allowed, case


def test_a_host_is_resolved_once_per_connection(played: dict[str, Played]) -> None:
    stem = f"{PUBLIC} stays.stems.test stays.stems.test"
    assert played["kept"] == Played([stem, stem], [f"{PUBLIC} 443"])
    arrived, refused = played["closed"].outcomes
    assert arrived == stem.replace("stays", "leaves")
    assert refused.startswith("AddressRefused: ")


def test_no_connection_is_reused_for_another_host(played: dict[str, Played]) -> None:
    """Or a certificate for one name would serve all names at its address."""
    arrived, refused = played["shared"].outcomes
    assert arrived == f"{PUBLIC} stems.test stems.test"
    assert "certificate is not valid for 'elsewhere.test'" in refused


def test_an_allowed_host_may_have_a_private_address(played: dict[str, Played]) -> None:
    hosts = ("api.test:8000", FRIEND, f"{FRIEND}:8000", "api.test:8000")
    assert played["allowed"].outcomes == [f"10.0.0.1 None {host}" for host in hosts]
    assert played["allowed"].asked == ["10.0.0.1 80", "10.0.0.1 8000"]


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "0", "localhost", "::1"])
async def test_the_backend_refuses_private_addresses(host: str) -> None:
    """Needs no namespaces: it uses this machine's resolver."""
    connections = CheckedConnections(AddressRules(["http://api.test"], []))
    with pytest.raises(AddressRefused):
        await connections.connect_tcp(host, 443, timeout=5)


async def test_unix_sockets_are_refused(tmp_path: Path) -> None:
    connections = CheckedConnections(AddressRules(["http://api.test"], []))
    with pytest.raises(AddressRefused):
        await connections.connect_unix_socket(str(tmp_path / "socket"))


async def test_a_name_that_does_not_resolve_can_be_retried() -> None:
    connections = CheckedConnections(AddressRules(["http://api.test"], []))
    with pytest.raises(FetchFailed) as failed:
        await connections.connect_tcp("no-such-name.invalid", 443, timeout=20)
    assert not isinstance(failed.value, AddressRefused)
