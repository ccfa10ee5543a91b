"""Takes the README's pictures of the sandbox's page and the mixer, by day and night, in Debian's Chromium."""

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


async def _take_the_mixer(page: Page, colours: str) -> None:
    """Open the mixer as the chat does, set a loop and some levels, and write the picture."""
    await page.get_by_role("button", name="Mixer").click()
    mixer = page.frame_locator("dialog iframe")
    position = mixer.get_by_role("slider", name="Position in the song")
    for second in ("10", "19"):
        await position.fill(second)
        await position.press("l")
    await position.fill("12.5")
    await mixer.get_by_role("button", name="Mute Drums").click()
    await mixer.get_by_role("slider", name="Volume of Vocals").fill("-12")
    await mixer.locator("body").evaluate("() => document.activeElement.blur()")
    await page.locator("dialog.web-app").screenshot(path=_PICTURES / f"mixer-{colours}.png")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Close").click()


async def main() -> None:
    """Split the bundled song in the page, and write the pictures."""
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
            await _take_the_mixer(page, "light")
            await page.emulate_media(color_scheme="dark")
            await _take_the_mixer(page, "dark")
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
