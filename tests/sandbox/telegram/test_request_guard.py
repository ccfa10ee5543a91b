"""Requests that a web page of others could send through the browser of a developer."""

import httpx
import pytest

from sandbox.telegram.person_actions import Telegram


@pytest.fixture
def paths(tg: Telegram) -> list[str]:
    """A call of each API, with its secret."""
    return [f"/bot{tg.token}/getMe", f"/file/bot{tg.token}/none", f"/chat/chats?key={tg.access_key}"]


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Host": "evil.example"},
    {"Host": "rebound.evil.example.:8081", "Sec-Fetch-Site": "same-origin"},
]


async def test_requests_of_foreign_pages_are_refused(url: str, paths: list[str]) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as client:
        for headers in FOREIGN:
            for path in paths:
                answer = await client.get(path, headers=headers)
                body = answer.json()
                assert (answer.status_code, body["ok"], body["error_code"]) == (403, False, 403), headers


async def test_malformed_headers_are_refused(url: str, paths: list[str]) -> None:
    broken = ["http://[", "[::1", "a b", "http://[/x", "http://x:port"]
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as client:
        for headers in [{name: text} for name in ("Host", "Origin") for text in broken]:
            for path in paths:
                assert (await client.get(path, headers=headers)).status_code == 400, headers


async def test_programs_and_the_own_page_are_let_in(url: str, paths: list[str]) -> None:
    host = url.removeprefix("http://")
    ours = [
        {"Origin": url, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Host": host.replace("127.0.0.1", "localhost")},
    ]
    elsewhere = ["sandbox:8081", "192.168.1.20:8081", "[::1]:8081", "host.docker.internal:8081"]
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as client:
        for headers in ours:
            found = [(await client.get(path, headers=headers)).status_code for path in paths]
            assert found == [200, 404, 200]
        for name in elsewhere:
            assert (await client.get(paths[0], headers={"Host": name})).status_code == 200
