"""The mixer's page in Chromium, with stems that the test computes."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import pytest_asyncio
from browser import assert_accessible, quiet_page
from mixer_stage import RATE, Stage
from playwright.async_api import Browser, Page, expect
from starlette.responses import JSONResponse, Response, StreamingResponse

from .conftest import PHONE

pytestmark = pytest.mark.asyncio(loop_scope="package")

RENDERING = (Path(__file__).parent / "mixer_rendering.js").read_text("utf-8")
NIGHT = quote('{"bg_color": "#212d3b", "text_color": "#ffffff", "button_color": "#50a8eb"}')
COUNT_FRAMES = """window.frames_ = 0;
const next = requestAnimationFrame;
window.requestAnimationFrame = (call) => next(() => { window.frames_ += 1; call(0); });"""


@pytest_asyncio.fixture(loop_scope="package", scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page that may log errors, for the stories in which the server refuses something."""
    page = await browser.new_page(locale="en-US", reduced_motion="reduce")
    page.set_default_timeout(120_000)
    yield page
    await page.close()


async def rendered(page: Page, seconds: float, *actions: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = await page.evaluate(RENDERING, {"seconds": seconds, "actions": actions})
    assert found["errors"] == []
    return found


def clicks_at(found: dict[str, Any]) -> list[float]:
    return [at / RATE for at, _ in found["heard"]]


async def test_stems_are_in_step_to_the_sample_and_loop_seek_and_levels_are_exact(browser: Browser) -> None:
    """Twelve stems click at half of each second, each with a sixteenth; a tone is the thirteenth."""
    seconds = 9
    clicks = np.zeros(seconds * RATE, np.int16)
    clicks[RATE // 2 :: RATE] = 2048
    tone = (9000 * np.sin(2 * np.pi * 441 * np.arange(seconds * RATE) / RATE)).astype(np.int16)
    stage = Stage({**{f"Stem {number}": clicks for number in range(12)}, "Tone": tone}, segment_s=1)
    without_tone = [0, "set", 12, {"isMuted": True}]
    async with stage.served() as url, quiet_page(browser, url.replace("?job", "?empty")) as page:
        found = await rendered(page, seconds, without_tone)
        assert clicks_at(found) == [second + 0.5 for second in range(seconds)]
        assert [height for _, height in found["heard"]] == pytest.approx([0.75] * seconds, abs=1e-4)
        assert "0/8" in found["fetched"]
        assert "12/6" not in found["fetched"]  # muted before its end was near

        looped = await rendered(
            page, 6, without_tone, [0, "mark", {"start": 2, "end": 4.25}], [5, "clearLoop"]
        )
        # From the end to the start without a frame too many, and on from there.
        assert clicks_at(looped) == [0.5, 1.5, 2.5, 3.5, 4.75, 5.75]

        joined = await rendered(
            page,
            3,
            without_tone,
            [0, "set", 0, {"isMuted": True}],
            [1, "set", 0, {"db": -12, "isMuted": False}],
        )
        heights = [height * 16 for _, height in joined["heard"]]
        assert heights == pytest.approx([11, 11 + 10 ** (-12 / 20), 11 + 10 ** (-12 / 20)], abs=2e-3)
        assert clicks_at(joined) == [0.5, 1.5, 2.5]

        sought = await rendered(page, 4, without_tone, [1, "seek", 6.5 - 0.2], [3, "pause"])
        # The browser counts in blocks of 128 frames.
        assert clicks_at(sought) == pytest.approx([0.5, 1.2, 2.2], abs=128 / RATE)

        slow = await rendered(page, 12, [0, "setSpeed", 80], [0, "set", 12, {"isSolo": True}])
        assert slow["end"] / RATE == pytest.approx(seconds / 0.8, abs=0.15)
        assert slow["crossings"] / (seconds / 0.8) == pytest.approx(441, rel=0.01)


async def test_a_song_ends_where_its_last_segment_does(browser: Browser) -> None:
    seconds = 4.75
    clicks = np.zeros(int(seconds * RATE), np.int16)
    clicks[RATE // 2 :: RATE] = 9000
    stage = Stage({"Clicks": clicks}, segment_s=1, claimed_s=5.5)
    async with stage.served() as url, quiet_page(browser, url.replace("?job", "?empty")) as page:
        for place in (5.2, 100):  # both are after the end, which is known only then
            left = await rendered(page, 3, [1, "seek", place])
            assert (clicks_at(left), left["state"]) == ([0.5], "paused")
        looped = await rendered(page, 7, [0, "mark", {"start": 3, "end": 5.5}])
        assert clicks_at(looped) == [0.5, 1.5, 2.5, 3.5, 4.5, 5.25, 6.25]

        for stage.claimed_s in (1, 2.5):  # after a whole segment, and within one
            found = await rendered(page, 6)
            assert (clicks_at(found), found["state"]) == ([0.5, 1.5, 2.5, 3.5, 4.5], "paused")


async def test_a_song_is_mixed_on_a_phone_by_keyboard_and_finger(browser: Browser) -> None:
    noise = np.random.default_rng(1).integers(-3000, 3000, 20 * RATE, np.int16)
    names = ("Vocals", "<b>Drums</b>", "🎸 " + "A bass of a very long name " * 4)
    facts = {"bpm": 120, "beat_s": 0.25, "key": "G major", "loudness": -11}
    stage = Stage(dict.fromkeys(names, noise), title="<i>Song</i> " * 20, facts=facts)
    async with (
        stage.served() as url,
        quiet_page(browser, f"{url}&tgWebAppThemeParams={NIGHT}", script=COUNT_FRAMES, **PHONE) as page,
    ):
        play, pause = (page.get_by_role("button", name=name, exact=True) for name in ("Play", "Pause"))
        await expect(play).to_be_focused()
        await expect(page.get_by_text("120 BPM · G major")).to_be_visible()
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(33, 45, 59)"
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        assert await page.locator("i, b").count() == 0
        await page.keyboard.press("Space")
        await expect(pause).to_be_visible()
        await expect(page.get_by_role("slider", name="Position in the song")).not_to_have_value("0")

        drums = page.get_by_role("group", name="<b>Drums</b>")
        await page.keyboard.press("2")
        await page.keyboard.press("m")
        await expect(drums).to_have_class("stem silent")
        await page.get_by_role("slider", name="Volume of Vocals").fill("-6")
        await expect(page.get_by_role("group", name="Vocals", exact=True)).to_contain_text("−6 dB")
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        await page.keyboard.press("Escape")

        strip: Any = await page.locator(".loop-strip").bounding_box()
        for share, act in ((0.25, page.mouse.down), (0.5, page.mouse.up)):
            await page.mouse.move(strip["x"] + share * strip["width"], strip["y"] + 10, steps=3)
            await act()
        start, end = (page.get_by_role("slider", name=f"Loop {name}") for name in ("start", "end"))
        await expect(start).to_have_attribute("aria-valuenow", "5.25")  # the nearest beat
        await end.press("ArrowLeft")
        await expect(end).to_have_attribute("aria-valuenow", "9.75")
        await assert_accessible(page)

        await page.get_by_role("slider", name="Speed").fill("80")
        await page.get_by_role("button", name="Send this mix to the chat").click()
        await expect(page.get_by_role("log")).to_have_text(re.compile("on its way to the chat"))
        [mix] = stage.mixes
        assert mix["recipe"]["gains"] == [["<b>drums</b>", -96], ["vocals", -6]]
        assert mix["recipe"]["speed"] == 80

        await pause.click()
        await expect(play).to_be_visible()
        counted = "new Promise((done) => setTimeout(() => done(window.frames_), 100))"
        assert await page.evaluate(counted) == await page.evaluate(counted)  # nothing is drawn


async def test_the_mixer_waits_for_a_busy_server_and_says_when_it_is_over(page: Page) -> None:
    refusals = {"": 503}
    stage = Stage({"Vocals": np.zeros(20 * RATE, np.int16)}, segment_s=1, language="ru")

    def refuse(path: str) -> JSONResponse | None:
        for prefix, status in refusals.items():
            if path.startswith(prefix):
                return JSONResponse({"error": "busy"}, status, {"Retry-After": "0.2"})
        return None

    stage.refuse = refuse
    async with stage.served() as url:
        await page.goto(url)
        await expect(page.get_by_text("Сервер занят. Пробую ещё раз…").first).to_be_visible()
        refusals.clear()
        await page.get_by_role("button", name="Играть").click()
        await expect(page.get_by_role("button", name="Пауза")).to_be_visible()
        refusals.update({"segments": 403, "open": 403})  # the song plays on, and needs further segments
        await expect(page.get_by_role("alert")).to_have_text(
            "Срок этого микшера истёк. Откройте его снова кнопкой в чате."
        )


async def test_the_mixer_outlives_answers_that_break_off_and_ends_for_other_stems(page: Page) -> None:
    """Below an address with a path."""
    sound = np.zeros(20 * RATE, np.int16)
    stage = Stage({"Vocals": sound}, segment_s=0.25, below="/stems")
    broken = {"open", "segments/t/0/2.flac"}

    def break_off(path: str) -> Response | None:
        if path not in broken:
            return None
        broken.remove(path)
        return StreamingResponse(iter([b"{"]), headers={"Content-Length": "2000"})

    stage.refuse = break_off
    async with stage.served() as url:
        await page.goto(url)
        await page.get_by_role("button", name="Play").click()
        await expect(page.get_by_role("button", name="Pause")).to_be_visible()
        await expect(page.locator(".times")).to_have_text(re.compile("^0:0[1-9]"))
        assert not broken

        # The stems are sent anew while the page plays: numbers mean others now, also in the next request.
        stage.stems = {"Drums": sound, "Vocals": sound}
        stage.refuse = lambda path: JSONResponse({}, 403) if path.startswith("segments") else None
        await expect(page.get_by_role("alert")).to_contain_text("no longer available")
        asked = len(stage.asked)
        await page.keyboard.press("Space")
        await page.evaluate("new Promise((done) => setTimeout(done, 300))")
        assert len(stage.asked) == asked


async def test_waveforms_are_drawn_when_the_song_has_been_measured(browser: Browser) -> None:
    noise = np.random.default_rng(1).integers(-9000, 9000, 2 * RATE).astype(np.int16)
    stage = Stage({"Vocals": noise}, facts={"bpm": 104, "beat_s": None, "key": None}, busy_measuring=1)
    looks = "[...document.querySelectorAll('canvas')].map((canvas) => canvas.toDataURL())"
    async with stage.served() as url, quiet_page(browser, url) as page:
        await expect(page.locator(".stem")).to_be_visible()
        flat = await page.evaluate(looks)
        await page.wait_for_function(f"(flat) => {looks}.every((look, at) => look !== flat[at])", arg=flat)
    assert stage.asked.count("measures/t") == 2


async def test_the_speed_can_be_changed_after_its_worklet_could_not_be_loaded(page: Page) -> None:
    stage = Stage({"Vocals": np.zeros(20 * RATE, np.int16)}, broken_files={"pitch_worklet.js"})
    async with stage.served() as url:
        await page.goto(url)
        speed = page.get_by_role("slider", name="Speed")
        for _ in range(2):
            await speed.fill("80")
            await expect(page.locator(".toast").last).to_have_text(re.compile("could not be changed"))
            await expect(speed).to_have_value("100")
            await expect(speed).to_have_attribute("aria-valuetext", "100 %")

        stage.broken_files.clear()
        await speed.fill("80")
        await page.get_by_role("button", name="Play").click()
        await expect(page.locator(".times")).to_have_text(re.compile("^0:0[1-9]"))
        await expect(speed).to_have_value("80")
        await page.get_by_role("button", name="Send this mix to the chat").click()
        await expect(page.get_by_role("log")).to_have_text(re.compile("on its way to the chat"))
        assert stage.mixes[0]["recipe"]["speed"] == 80


async def test_a_stem_for_which_the_server_has_no_room_is_named_and_the_others_play(page: Page) -> None:
    sound = np.zeros(4 * RATE, np.int16)
    stage = Stage({"Vocals": sound, "Drums": sound}, segment_s=0.25)
    full = JSONResponse({"error": "no_room"}, 404)
    stage.refuse = lambda path: full if re.match("segments/t/1/[23]", path) else None
    async with stage.served() as url:
        await page.goto(url)
        await expect(page.locator(".toast")).to_contain_text(
            "The server has no room for “Drums” at the moment."
        )
        await page.get_by_role("button", name="Play").click()
        await expect(page.locator(".times")).to_have_text(re.compile("^0:0[1-4]"))
