"""Debian's Chromium, driven by Playwright; where it is missing, its tests are skipped with a loud message."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

try:
    from axe_playwright_python.base import AXE_SCRIPT
    from playwright.async_api import Browser, Page, async_playwright, expect
except ImportError:  # requirements that are older than the lock
    pytest.skip("!!! NOT TESTED: the sandbox's page; run make setup", allow_module_level=True)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-extensions", "--mute-audio"),
    *("--autoplay-policy=no-user-gesture-required", "--use-fake-device-for-media-stream"),
    "--use-fake-ui-for-media-stream",
    # Chromium would start processes for pages that never come, which costs a tenth of its processor time.
    *("--renderer-process-limit=1", "--disable-site-isolation-trials"),
    # For each window Chromium would load two pages for the popups of its address bar, half of its time.
    # The other features are those that Playwright turns off, since only the last list counts.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,"
    "AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades,LensOverlay,MediaRouter,"
    "PaintHolding,ThirdPartyStoragePartitioning,OptimizationHints,NetworkTimeServiceQuerying,AimEnabled,"
    "PreconnectToSearch",
]
expect.set_options(timeout=120_000)
# Notes each label and status that the page shows, since on a busy machine a test may look too late.
_NOTE_LABELS = """addEventListener("DOMContentLoaded", () => {
  const shown = new Set(), waiting = new Map();
  window.whenShown = (label) => new Promise((resolve) => {
    if (shown.has(label)) resolve();
    else waiting.set(label, resolve);
  });
  new MutationObserver(() => {
    for (const button of document.querySelectorAll("button, .status")) {
      const label = button.getAttribute("aria-label") ?? button.textContent;
      shown.add(label);
      waiting.get(label)?.();
    }
  }).observe(document.body, { attributes: true, characterData: true, childList: true, subtree: true });
});"""
# What axe calls serious.
_IMPACTS = ("serious", "critical")
_FIND_VIOLATIONS = "axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations)"


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def quiet_page(browser: Browser, url: str, *, script: str = "", **options: Any) -> AsyncIterator[Page]:
    """Yield a page at `url`; fails when it logged an error, or a request failed or left this machine.

    `script` runs before the page's own scripts. Motion is reduced unless `options`, those of a context of the
    browser, ask for it.
    """
    problems: list[str] = []
    async with await browser.new_context(
        **{"locale": "en-US", "reduced_motion": "reduce", **options}
    ) as context:
        page = await context.new_page()
        page.set_default_timeout(120_000)
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.extend(_outside(request.url)))
        page.on("crash", lambda _: problems.append("the page crashed"))
        page.on("requestfailed", lambda request: problems.extend(_failed(request.url, request.failure)))
        # Playwright asks the browser for this event once there is a listener, too late for the first.
        page.on("filechooser", lambda _: None)
        await page.add_init_script(_NOTE_LABELS + script)
        try:
            await page.goto(url)
            yield page
        except BaseException as error:
            error.add_note(f"in the page: {problems}")
            raise
    assert problems == [], problems


async def has_shown(page: Page, label: str) -> None:
    """Wait until the page shows a button or a status of this name, or has shown it since it was loaded."""
    async with asyncio.timeout(120):
        await page.evaluate("label => window.whenShown(label)", label)


def _outside(url: str) -> list[str]:
    return [] if url.startswith(("http://127.0.0.1:", "blob:", "data:")) else [f"a request to {url}"]


def _failed(url: str, failure: str | None) -> list[str]:
    # A page that is left ends its stream, and a sound that is left ends its download.
    return [] if failure == "net::ERR_ABORTED" else [f"{url}: {failure}"]


async def assert_accessible(page: Page) -> None:
    """Assert that axe finds no serious or critical problem in what is shown."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE_SCRIPT)
    found = await page.evaluate(_FIND_VIOLATIONS)
    serious = [
        (problem["id"], [node["html"][:200] for node in problem["nodes"]])
        for problem in found
        if problem["impact"] in _IMPACTS
    ]
    assert serious == [], serious
