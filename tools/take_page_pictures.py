"""Takes the README's pictures of the sandbox's page, by day and by night, in Debian's Chromium."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

from playwright.async_api import Page, async_playwright

from sandbox.environment.local_environment import LocalEnvironment

_PICTURES = Path(__file__).parent.parent / "docs" / "images"
_WAIT_MS = 120_000


async def _split_the_demo_song(page: Page) -> None:
    await page.get_by_role("button", name="Morning Line").click()
    await page.get_by_role("button", name="All stems").click()
    await page.get_by_role("button", name="Hear the split").wait_for()


async def main() -> None:
    """Split the bundled song in the page, and write both pictures."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            LocalEnvironment(Path(folder), environment=os.environ) as environment,
            async_playwright() as playwright,
        ):
            await environment.start("up")
            browser = await playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--mute-audio"]
            )
            page = await browser.new_page(viewport={"width": 780, "height": 945}, locale="en-US")
            page.set_default_timeout(_WAIT_MS)
            await page.goto(environment.page.url(environment.telegram_url))
            await _split_the_demo_song(page)
            await page.emulate_media(color_scheme="dark")
            await page.get_by_role("button", name="Hear the split").click()
            await page.get_by_role("slider", name="Position in the song").fill("12")
            await page.get_by_role("button", name="Only Vocals").click()
            await page.screenshot(path=_PICTURES / "page-dark.png")
            await page.keyboard.press("Escape")
            await page.emulate_media(color_scheme="light")
            await page.get_by_role("button", name="You ♪ Morning Line").first.scroll_into_view_if_needed()
            await page.mouse.move(0, 0)
            await page.locator(".scroller").focus()
            await page.screenshot(path=_PICTURES / "page-light.png")
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
