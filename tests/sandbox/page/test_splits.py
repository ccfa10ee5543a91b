"""Songs that are split in the page by the real bot and the separator's light engine."""

from pathlib import Path

import numpy as np
import pytest
from browser import has_shown
from playwright.async_api import Locator, Page, expect
from tones import beginning_with_tags, mp3

from sandbox.play.duration import measure
from sandbox.telegram.faults import FaultKind

from .conftest import Sandbox, drop, said

pytestmark = pytest.mark.asyncio(loop_scope="package")

RATE = 8000
# What is heard of each stem alone, and of the song, rendered by the page's own mixer.
HEARD = """async ([fileIds, songId, rate]) => {
  const { Split } = await import("/page/split.js");
  const heard = [];
  for (const index of [...fileIds.keys(), -1]) {
    const split = new Split(new OfflineAudioContext(1, 4 * rate, rate));
    const { mix, transport } = split;
    const tracks = await split.load(fileIds, songId);
    mix.set(tracks[index], index < 0 ? { alone: split.original } : { isSolo: true });
    transport.play();
    const samples = (await mix.context.startRendering()).getChannelData(0);
    const rounded = [...samples].map((sample) => Math.round(sample * 1e4));
    heard.push({ seconds: tracks[0].frames / rate, samples: rounded });
  }
  return heard;
}"""


def lag_s(sound: list[int], other: list[int]) -> float:
    """How much later a sound is than another one that contains it."""
    size = 2 * len(sound)
    correlation = np.fft.irfft(np.fft.rfft(sound, size) * np.conj(np.fft.rfft(other, size)))
    lag = int(np.argmax(correlation))
    return (lag - size if lag > size // 2 else lag) / RATE


async def test_a_song_is_dropped_and_its_stems_are_heard_in_step(
    world: Sandbox, song: Path, tmp_path: Path
) -> None:
    part = beginning_with_tags(song, tmp_path / "song.mp3", 3)
    robin = world.guest("Robin")
    async with world.page(robin) as page:
        await drop(page, part)
        world.telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, method="sendMediaGroup", times=None)
        await page.get_by_role("button", name="Vocals + instrumental").click()
        await expect(said(page, "is split. Sending the stems")).to_be_visible()
        await page.reload()
        await expect(said(page, "is split. Sending the stems")).to_be_visible()
        world.telegram.faults.clear()
        await expect(said(page, "2 stems are here")).to_be_visible()

        sounds = [message for message in world.telegram.messages(robin.id) if message.kind == "audio"]
        original, *stems = [message.media["file_id"] for message in sounds if message.media]
        *heard, song_heard = await page.evaluate(HEARD, [stems, original, RATE])
        assert len(heard) == 2
        for stem in heard:
            assert stem["seconds"] == pytest.approx(measure(part), abs=0.02)
            assert abs(lag_s(stem["samples"], song_heard["samples"])) < 0.02
            assert max(map(abs, stem["samples"])) > 300
        await page.get_by_role("button", name="Play Morning Line (Vocals)").click()
        await has_shown(page, "Pause Morning Line (Instrumental)")
        await expect(page.get_by_role("button", name="Play Morning Line (Instrumental)")).to_be_visible()


async def test_a_split_song_is_mixed_and_the_mix_arrives_in_the_chat(
    world: Sandbox, song: Path, tmp_path: Path
) -> None:
    part = beginning_with_tags(song, tmp_path / "song.mp3", 4)
    lena = world.guest("Lena")
    async with world.page(lena) as page:
        await drop(page, part)
        await page.get_by_role("button", name="All stems").click()
        await page.get_by_role("button", name="Mixer").click()
        mixer = page.frame_locator("dialog iframe")
        await mixer.get_by_role("button", name="Mute Drums").click()
        await mixer.get_by_role("button", name="Play", exact=True).click()
        await expect(mixer.get_by_role("slider", name="Position in the song")).not_to_have_value("0")
        await mixer.get_by_role("button", name="Pause", exact=True).press("l")
        await mixer.get_by_role("slider", name="Position in the song").fill("3")
        await mixer.locator("body").press("l")
        await expect(mixer.get_by_role("slider", name="Loop end")).to_be_visible()
        await mixer.get_by_role("button", name="Send this mix to the chat").click()
        await expect(mixer.get_by_role("log")).to_contain_text("on its way to the chat")
        await page.get_by_role("button", name="Close").click()

        name = "Morning Line (without drums)"
        await page.get_by_role("button", name=f"Play {name}").click()
        await has_shown(page, f"Pause {name}")
        *stems, mix = [
            message.media for message in world.telegram.messages(lena.id) if message.kind == "audio"
        ]
        assert len(stems) == 5
        assert (mix or {})["title"] == name
        assert (mix or {})["duration"] == 4


async def test_an_album_is_split_with_one_tap_in_the_order_of_its_songs(
    world: Sandbox, tmp_path: Path
) -> None:
    for title in ("One", "Two"):
        mp3(tmp_path / f"{title}.mp3", title=title)
    async with world.page(world.guest("Ann")) as page:
        await drop(page, tmp_path / "One.mp3", tmp_path / "Two.mp3")
        await expect(said(page, "2 songs. How do you want them split?")).to_be_visible()
        await expect(page.locator(".mine .sound")).to_have_count(2)
        await page.get_by_role("button", name="Vocals + instrumental").click()
        await expect(said(page, "2 stems are here")).to_have_count(2)
        titles = await page.locator(".bubble:not(.mine) .sound-title").all_inner_texts()
        assert sorted(titles) == [
            f"{song} ({stem})" for song in ("One", "Two") for stem in ("Instrumental", "Vocals")
        ]
        await expect(page.get_by_role("button", name="Hear the split")).to_have_count(2)


async def test_with_the_keyboard_alone_in_chinese_a_song_is_split(world: Sandbox, tmp_path: Path) -> None:
    mp3(tmp_path / "歌.mp3", title="歌")
    async with world.page(world.guest("小明", "zh-hans")) as page:
        await press_until(page, "Tab", page.get_by_role("button", name="附件"))
        await page.keyboard.press("Enter")
        await page.keyboard.press("End")
        async with page.expect_file_chooser() as choosing:
            await page.keyboard.press("Enter")
        await (await choosing.value).set_files(tmp_path / "歌.mp3")
        await expect(said(page, "《歌》")).to_be_visible()
        await press_until(page, "Shift+Tab", page.get_by_role("button", name="🎤 人声 + 伴奏"))
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="播放 歌 (人声)")).to_be_visible()
        await press_until(page, "Shift+Tab", page.get_by_role("slider", name="歌 (人声) 的播放位置"))
        await page.keyboard.press("ArrowRight")
        await expect(page.get_by_role("slider", name="歌 (人声) 的播放位置")).to_have_value("0.1")
        await press_until(page, "Tab", page.get_by_role("button", name="试听分轨"))
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="一起播放所有分轨")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="试听分轨")).to_be_focused()


async def press_until(page: Page, key: str, wanted: Locator) -> None:
    """Press a key until the wanted element has the focus."""
    await expect(wanted).to_be_visible()
    for _ in range(60):
        await page.keyboard.press(key)
        if await wanted.evaluate("(found) => found === document.activeElement"):
            return
    raise AssertionError(f"{key} does not lead to {wanted}")
