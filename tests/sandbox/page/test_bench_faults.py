"""The story of a fault: switched on in the bench, explained in the chat, shown and linked in the bench."""

import re
from pathlib import Path

import pytest
from browser import assert_accessible
from playwright.async_api import Page, expect
from tones import mp3

from .conftest import Sandbox, drop

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def switch_on(page: Page, kind: str, **fields: str) -> None:
    await page.get_by_label("Fault", exact=True).select_option(kind)
    for label, value in fields.items():
        await page.get_by_label(label.capitalize()).fill(value)
    await page.get_by_role("button", name="Let it fail").click()


async def test_a_refused_call_is_explained_in_the_chat_and_linked_in_the_bench(
    world: Sandbox, tmp_path: Path
) -> None:
    mp3(tmp_path / "Faulty.mp3", title="Faulty")
    async with world.page(world.guest("Ben"), viewport={"width": 1280, "height": 800}) as page:
        await page.get_by_role("button", name="Bench").click()
        await switch_on(page, "api_refused", code="402")
        await expect(page.get_by_text("refused with code 402 at create, the next call")).to_be_visible()
        await switch_on(page, "api_refused_status", code="501")
        await drop(page, tmp_path / "Faulty.mp3")
        await page.get_by_role("button", name="Vocals + Instrumental").click()
        await expect(page.locator(".bubble").last).to_contain_text("This bot has run out of credits")
        jobs = page.get_by_role("list", name="Jobs of this chat").get_by_role("listitem")
        await expect(jobs.first).to_contain_text("choosing → submitting → failed (402)")

        refused = page.locator(".calls .refused", has_text="create")
        await expect(refused).to_contain_text("200 · 402")
        await refused.locator("summary").press("Enter")
        await expect(refused).to_contain_text('"callBackUrl": "')
        await assert_accessible(page)
        await refused.get_by_role("button", name="Show the message").click()
        await expect(page.locator("li.found .bubble")).to_contain_text("402")
        await page.locator("li.found").get_by_role("button", name="More about this message").click()
        await page.get_by_role("menuitem", name="What did its job do?").click()
        await expect(page.get_by_role("searchbox")).to_have_value(re.compile("^[0-9a-f]{16}$"))
        shown = page.locator(".calls li")
        for name in ("sendMessage", "create", "editMessageText", "failed"):
            await expect(shown.filter(has_text=name).first).to_be_visible()
        await page.get_by_role("searchbox").fill("")

        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator(".bubble").last).to_contain_text("501")
        await expect(shown.filter(has_text="refused with HTTP status")).to_contain_text("501")
        await switch_on(page, "callback_doubled")
        await page.get_by_role("button", name="Try again").click()
        await expect(page.get_by_role("button", name="Hear the split")).to_be_visible()
        await expect(jobs.first).to_contain_text("separating → delivering → delivered")
        await page.get_by_label("What is shown").select_option("callback")
        await expect(shown.filter(has_text="callback doubled")).to_have_count(2)
        await page.set_viewport_size({"width": 360, "height": 560})
        await assert_accessible(page)
        assert await page.evaluate("document.querySelector('.bench').scrollWidth <= innerWidth")
        assert world.api_key not in await page.content()
        await shown.first.locator("summary").press("Enter")
        await shown.first.get_by_role("button", name="Show the message").click()
        await expect(page.locator(".bench")).to_be_hidden()  # it would cover the chat
        await expect(page.locator("li.found")).to_be_focused()
