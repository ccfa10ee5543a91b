"""What the mixer's page takes in Chromium with twelve stems of four minutes, and that they stay in step."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from browser import CHROMIUM, chromium, quiet_page
from measure import memory, own_mb, percentile
from mixer_stage import RATE, Stage
from numpy.typing import NDArray
from playwright.async_api import Browser
from rows import Row, compared

from sandbox.page.routes import SONGS

STEMS, SECONDS, SEEKS, PLAYED_S = 12, 240, 30, 25
_RENDERING = Path(__file__).parent.parent / "sandbox" / "page" / "mixer_rendering.js"
# How long after a seek it is heard, in milliseconds; the song is opened once.
_SEEK = """async ([places]) => {
  const { Player } = await import("/mixer/static/player.js");
  const { Server } = await import("/mixer/static/server.js");
  const server = new Server("signed", "1", () => {});
  const fail = (error) => { throw error; };
  const player = new Player(await server.open(), (...asked) => server.segment(...asked), fail);
  const { transport, mix } = player;
  const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  transport.play();
  const took = [];
  for (const place of places) {
    while (transport.state !== "playing") await rest(5);
    await rest(1000);
    const began = mix.context.currentTime;
    transport.seek(place);
    while (transport.state !== "playing") await rest(1);
    while (transport.position <= place) await rest(1);
    took.push((mix.context.currentTime - began) * 1000);
  }
  return took;
}"""


async def run(_: Path) -> AsyncIterator[Row]:
    """Measure drift, seeks and memory; needs Chromium."""
    if not CHROMIUM:
        yield Row("the mixer", "not measured: there is no Chromium here")
        return
    clicks = np.zeros(SECONDS * RATE, np.int16)
    clicks[RATE // 2 :: RATE] = 2048
    music = np.resize(_samples(SONGS / "demo-song.mp3"), SECONDS * RATE)
    async with chromium() as browser:
        yield await _drift(browser, Stage({f"Stem {number}": clicks for number in range(STEMS)}))
        for count in (1, STEMS):
            stage = Stage({f"Stem {number}": music for number in range(count)})
            async with stage.served() as url, quiet_page(browser, url) as page:
                await page.get_by_role("button", name="Play", exact=True).click()
                await asyncio.sleep(PLAYED_S)
                used, shared = await _renderer_mb(browser)
                await page.get_by_role("button", name="Pause", exact=True).click()
                places = [random.uniform(0, SECONDS - 10) for _ in range(SEEKS)]
                took = await page.evaluate(_SEEK, [places])
            if count == 1:
                alone, alone_mb = took, used
        ratio = percentile(took, 0.5) / percentile(alone, 0.5)
        figure = f"{percentile(took, 0.5):.0f} ms, 95 %: {percentile(took, 0.95):.0f} ms"
        yield compared("… a seek is heard after", figure, ratio, "a seek of one stem")
        figure = f"{used:.0f} MB (PSS, with Chromium's own code: {shared:.0f})"
        yield compared("… memory of the page while it plays", figure, used / alone_mb, "that with one stem")


async def _drift(browser: Browser, stage: Stage) -> Row:
    """Render the song's clicks; all stems must click in the same frame of each second."""
    async with stage.served() as url, quiet_page(browser, url) as page:
        values = {"seconds": SECONDS, "actions": []}
        found: dict[str, Any] = await page.evaluate(_RENDERING.read_text("utf-8"), values)
    frames = [at for at, _ in found["heard"]]
    heights = {round(height * 16, 2) for _, height in found["heard"]}
    assert frames == [RATE // 2 + second * RATE for second in range(SECONDS)], frames
    assert heights == {STEMS}, heights
    return Row(
        f"the mixer in Chromium, {STEMS} stems of {SECONDS} s: drift", f"0 samples at {len(frames)} clicks"
    )


async def _renderer_mb(browser: Browser) -> tuple[float, float]:
    """Return what the page's process, the largest of the renderers, holds of its own, and its PSS."""
    session = await browser.new_browser_cdp_session()
    found = await session.send("SystemInfo.getProcessInfo")
    pids = [process["id"] for process in found["processInfo"] if process["type"] == "renderer"]
    return max((own_mb(pid), memory(pid).pss) for pid in pids)


def _samples(path: Path) -> NDArray[np.int16]:
    """Decode the left channel of a song."""
    resampler = av.AudioResampler("s16p", "stereo", RATE)
    with av.open(str(path)) as container:
        frames = [even for frame in container.decode(audio=0) for even in resampler.resample(frame)]
    return cast(NDArray[np.int16], np.concatenate([frame.to_ndarray()[0] for frame in frames]))
