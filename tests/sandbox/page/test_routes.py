"""The files of the page over HTTP."""

import re
from pathlib import Path

import httpx

from sandbox.page.routes import PageLink
from sandbox.telegram.app import run_telegram
from sandbox.telegram.person_actions import Telegram


async def test_the_page_needs_no_key_but_names_a_strict_policy_and_a_code_opens_it_once(
    tmp_path: Path,
) -> None:
    telegram = Telegram(tmp_path)
    link = PageLink(telegram.access_key)
    async with (
        run_telegram(telegram, with_chat_api=True, link=link) as base,
        httpx.AsyncClient(base_url=base, trust_env=False) as http,
    ):
        page = await http.get("/")
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert "unsafe" not in policy
        names = re.findall(r'"/page/([\w.-]+)"', page.text)
        assert [(await http.get(f"/page/{name}")).status_code for name in names] == [200] * 3
        for path in (
            "/page/routes.py",
            "/page/..%2froutes.py",
            "/page/songs/..%2f..%2fcommand.py",
            "/open/x",
        ):
            assert (await http.get(path)).status_code == 404
        once = link.single_use_url("")
        opened = await http.get(once)
        assert (opened.status_code, opened.headers["location"]) == (303, f"/#{telegram.access_key}")
        assert (await http.get(once)).status_code == 404
