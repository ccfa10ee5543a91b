"""Which proxy leads to a server, and clients behind a proxy that alone leads outside."""

import ast
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from certificates import Certificates
from fileserver import FileServer
from redis.asyncio import Redis
from tcp_proxy import TcpProxy
from web_proxy import WebProxy

from sandbox.telegram.app import run_telegram
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.telegram_bot import build_bot
from stemdrop.errors import AddressRefused, FetchFailed, Unreachable
from stemdrop.http.clients import client_options
from stemdrop.http.proxies import Proxies
from stemdrop.provider.sunoapi.client import SeparationClient
from stemdrop.settings import load_settings
from stemdrop.storage.flood_limiter import FloodLimiter
from worker.stems.address_rules import AddressRules
from worker.stems.fetcher import StemFetcher

ROOT = Path(__file__).parents[3]
PROXIES = Proxies(http="http://plain:1", https="http://tls:2")
REQUIRED = {"TELEGRAM_BOT_TOKEN": "7000000001:AAabc", "SEPARATION_API_KEY": "key", "SECRET_KEY": "secret"}
INSIDE = [
    *("localhost", "LocalHost.", "a.localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0"),
    *("0177.0.0.1", "[::1]", "::1", "[fe80::1%25eth0]", "10.0.0.1", "192.168.1.2", "169.254.169.254"),
    *("[fd00::1]", "[::ffff:10.0.0.1]", "redis", "separator", "telegram", "nas.local", "files.internal"),
    *("metadata.google.internal", "box.lan", "x.home.arpa"),
]
OUTSIDE = ["api.telegram.org", "8.8.8.8", "[2606:4700:4700::1111]", "local.example", "internal.example"]


@pytest.mark.parametrize("host", INSIDE)
def test_what_is_private_is_reached_directly(host: str) -> None:
    assert PROXIES.proxy_for("https", host) == PROXIES.proxy_for("http", host, 8001) == ""


@pytest.mark.parametrize("host", OUTSIDE)
def test_everything_else_goes_by_the_proxy_of_its_scheme(host: str) -> None:
    assert PROXIES.proxy_for("https", host) == "http://tls:2"
    assert PROXIES.proxy_for("http", host) == "http://plain:1"
    assert Proxies().proxy_for("https", host) == ""


@pytest.mark.parametrize(
    ("no_proxy", "direct", "proxied"),
    [
        ("*", ["a.example", "8.8.8.8"], []),
        ("a.example", ["a.example", "A.Example.", "b.a.example"], ["ba.example", "a.example.org"]),
        (".a.example, *.b.example", ["a.example", "x.a.example", "x.b.example"], ["c.example"]),
        ("a.example:443;b.example:8443", ["a.example"], ["b.example"]),
        ("8.8.0.0/16 2606:4700::/32", ["8.8.8.8", "[2606:4700:4700::1111]"], ["8.9.8.8"]),
        ("[2606:4700:4700::1111]", ["[2606:4700:4700::1111]"], ["8.8.8.8"]),
        ("https://a.example,,:,[::1", ["a.example"], ["b.example"]),
    ],
)
def test_no_proxy_is_obeyed(no_proxy: str, direct: list[str], proxied: list[str]) -> None:
    proxies = Proxies(https="http://tls:2", no_proxy=no_proxy)
    assert [host for host in direct + proxied if not proxies.proxy_for("https", host)] == direct


@pytest.fixture
async def outside(
    tmp_path: Path, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WebProxy]:
    """A proxy with a password that leads to `files`, with a certificate for `*.outside.example`."""
    certificates = Certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    tls = TcpProxy(lambda: [urlsplit(files.url).port or 0], tls=certificates.server("outside"))
    async with tls.run(), WebProxy(lambda: tls.port, "word-of-proxy").run() as proxy:
        yield proxy


def fetcher(proxy_url: str) -> StemFetcher:
    settings = load_settings({**REQUIRED, "ALL_PROXY": proxy_url})
    rules = AddressRules([settings.separation_api_url], settings.stem_hosts)
    return StemFetcher(rules, 1000, proxies=settings.proxies)


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h", "socks"])
async def test_stems_go_by_the_proxy_which_resolves_their_names(
    outside: WebProxy, files: FileServer, tmp_path: Path, scheme: str
) -> None:
    files.put("b.mp3", b"stem")
    files.redirect("a.mp3", "https://other.outside.example/b.mp3")
    async with fetcher(outside.url(scheme)) as opened:
        assert await opened.fetch("https://stems.outside.example/a.mp3", tmp_path / "stem") == ".mp3"
    assert (tmp_path / "stem").read_bytes() == b"stem"
    assert outside.asked == ["stems.outside.example:443", "other.outside.example:443"]


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "localhost", "10.0.0.1", "[::1]"])
async def test_no_proxy_leads_stems_to_a_private_address(
    outside: WebProxy, files: FileServer, tmp_path: Path, host: str
) -> None:
    files.redirect("a.mp3", f"https://{host}/b.mp3")
    async with fetcher(outside.url("http")) as opened:
        for url in (f"https://{host}/b.mp3", "https://stems.outside.example/a.mp3"):
            with pytest.raises(AddressRefused, match="is not a public address"):
                await opened.fetch(url, tmp_path / "stem")
        with pytest.raises(AddressRefused, match="over HTTPS only"):
            await opened.fetch("http://stems.outside.example/a.mp3", tmp_path / "stem")
    assert outside.asked == ["stems.outside.example:443"]


async def test_a_proxy_that_refuses_is_told_without_its_password(
    outside: WebProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "worker")
    monkeypatch.setattr("worker.stems.fetcher.PAUSES_S", (0.001,))
    url = outside.url("http").replace("word-of-proxy", "wrong-word")
    async with fetcher(url) as opened:
        with pytest.raises(FetchFailed) as met:
            await opened.fetch("https://stems.outside.example/a.mp3", tmp_path / "stem")
    proxies = load_settings({**REQUIRED, "ALL_PROXY": url}).proxies
    async with httpx.AsyncClient(**client_options(proxies)) as http:
        api = "https://api.outside.example"
        with pytest.raises(Unreachable) as missed:  # nothing was sent: a create call may be repeated
            await SeparationClient(http, api, api, "key").balance()
    assert outside.asked == []
    assert "wrong-word" not in f"{met.value} {met.value!r} {missed.value!r} {proxies!r} {caplog.text}"


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_clients_reach_the_outside_by_the_proxy_and_loopback_directly(
    outside: WebProxy, files: FileServer, scheme: str
) -> None:
    files.put("a", b"here")
    proxies = load_settings({**REQUIRED, "ALL_PROXY": outside.url(scheme)}).proxies
    async with httpx.AsyncClient(**client_options(proxies)) as http:
        assert (await http.get("https://api.outside.example/a")).text == "here"
        assert outside.asked == ["api.outside.example:443"]
        assert (await http.get(f"{files.url}/a")).text == "here"
    assert outside.asked == ["api.outside.example:443"]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_telegram_is_reached_by_the_proxy(
    tmp_path: Path, redis: Redis, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    certificates, telegram = Certificates(tmp_path), Telegram(tmp_path / "telegram")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(run_telegram(telegram))
        tls = TcpProxy(lambda: [urlsplit(url).port or 0], tls=certificates.server("outside"))
        await stack.enter_async_context(tls.run())
        proxy = await stack.enter_async_context(WebProxy(lambda: tls.port).run())
        settings = load_settings(
            {
                **REQUIRED,
                "TELEGRAM_BOT_TOKEN": telegram.token,
                # a name that the local Telegram takes for private, and the rules for proxies do not
                "TELEGRAM_API_URL": "https://telegram.outside.test",
                "https_proxy": proxy.url(scheme),
            }
        )
        bot = build_bot(settings, FloodLimiter(redis))
        stack.push_async_callback(bot.shutdown)
        await bot.initialize()
        assert await bot.get_updates() == ()
    assert set(proxy.asked) == {"telegram.outside.test:443"}
    await telegram.close()


def test_every_client_takes_its_proxy_from_the_one_place_or_uses_none() -> None:
    clients = []
    for package in ("stemdrop", "bot", "webhook", "worker", "separator", "sandbox"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text("utf-8")
            if "AsyncClient" not in text:  # parsing and searching all files takes more than a second
                continue
            calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
            clients += [(path, it) for it in calls if ast.unparse(it.func) == "httpx.AsyncClient"]
    assert len(clients) > 5
    for path, call in clients:
        options = [ast.unparse(it) for it in call.keywords]
        assert any(it.startswith("**") or it == "trust_env=False" for it in options), path
