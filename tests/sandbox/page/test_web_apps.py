"""A Web App in the page, opened by a button and closed in each way."""

from typing import Any

import pytest
from browser import assert_accessible, quiet_page
from playwright.async_api import Browser, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from sandbox.environment.server import serve
from sandbox.page.routes import PageLink
from sandbox.telegram.app import run_telegram
from sandbox.telegram.person_actions import Telegram

from .conftest import PHONE, Bot

pytestmark = pytest.mark.asyncio(loop_scope="package")

HTML = """<!doctype html><html lang="en"><title>A Web App</title><link rel="icon" href="data:,">
<main><h1>Ready</h1>
<button>Done</button><p></p></main><script>
document.querySelector("p").textContent = new URLSearchParams(location.hash.slice(1)).get("tgWebAppPlatform");
document.querySelector("button").onclick = () =>
  parent.postMessage(JSON.stringify({ eventType: "web_app_close" }), "*");
</script>"""


async def test_a_web_app_opens_in_a_dialog_and_gives_the_focus_back(
    browser: Browser, tg: Telegram, bot: Bot
) -> None:
    async def page_of_the_bot(request: Request) -> HTMLResponse:
        return HTMLResponse(HTML)

    link = PageLink(tg.access_key)
    person = tg.add_user("Robin")
    async with (
        serve(Starlette(routes=[Route("/app/", page_of_the_bot)])) as web_app,
        run_telegram(tg, with_chat_api=True, link=link) as base,
    ):
        link.web_apps = web_app
        row: list[dict[str, Any]] = [
            {"text": "Mixer", "web_app": {"url": f"{web_app}/app/"}},
            {"text": "Foreign", "web_app": {"url": "http://127.0.0.1:9/"}},
        ]
        bot.says(person.id, "Hear it", row)
        with pytest.raises(AssertionError, match="frame-src") as refusal:
            await open_and_close(browser, link.url(base))
        [_] = refusal.value.args[0]  # nothing but the address that the page's policy does not name


async def open_and_close(browser: Browser, url: str) -> None:
    async with quiet_page(browser, url, **PHONE) as page:
        button = page.get_by_role("button", name="Mixer")
        inside = page.frame_locator("iframe")
        for way in ("Escape", "Close", "Done"):
            await button.focus()
            await page.keyboard.press("Enter")
            await expect(inside.get_by_text("web", exact=True)).to_be_visible()
            await expect(page.get_by_role("button", name="Close")).to_be_focused()
            if way == "Escape":
                await assert_accessible(page)
                await page.keyboard.press("Escape")
            elif way == "Close":
                await page.get_by_role("button", name="Close").click()
            else:
                await inside.get_by_role("button", name="Done").click()
            await expect(page.locator("iframe")).to_have_count(0)
            await expect(button).to_be_focused()
        await page.get_by_role("button", name="Foreign").click()
        await expect(page.get_by_text("That link leads out of the sandbox").first).to_be_visible()
        await expect(page.locator("iframe")).to_have_count(0)
