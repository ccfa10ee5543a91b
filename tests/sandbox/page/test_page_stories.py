"""Further stories of the page in a real browser, at a bot that a test plays."""

import re
from pathlib import Path

import httpx
import pytest
from browser import assert_accessible, quiet_page
from playwright.async_api import Browser, expect
from tones import mp3

from sandbox.telegram.person_actions import Telegram

from .conftest import PHONE, Bot

pytestmark = pytest.mark.asyncio(loop_scope="package")

# Replaces the answers with what the bench shows by those that a test has put into `broken`.
BREAK = """window.broken = [];
const { fetch: original } = window;
window.fetch = async (...all) => {
  const answer = await original(...all);
  return (String(all[0]).includes("/records?") && window.broken.shift()?.()) || answer;
};"""
LOST_AND_CUT_OFF = '() => broken.push(() => Promise.reject(new TypeError()), () => new Response("{"))'


async def test_the_stems_of_a_song_are_played_together(
    browser: Browser, url: str, tg: Telegram, bot: Bot, tmp_path: Path
) -> None:
    songs = [tmp_path / f"Song ({stem}).mp3" for stem in ("Vocals", "Drums", "Bass")]
    for song in songs:
        mp3(song, seconds=2, title=song.stem)
    async with quiet_page(browser, url) as page:
        await expect(page.get_by_role("heading", name="What can this bot do?")).to_be_visible()
        chat_id = next(iter(tg.users))
        original = await tg.send_file(chat_id, songs[0])
        await bot.sends(chat_id, *songs, reply_to=original)
        await page.get_by_role("button", name="Hear the split").click()
        await page.get_by_role("button", name="Only Drums").click()
        await expect(page.get_by_role("group", name="Vocals")).to_have_class("track silent")
        await page.get_by_role("button", name="Mute Drums").press("Enter")
        await expect(page.locator(".track.silent")).to_have_count(3)
        await page.get_by_role("button", name="Mute Drums").press("Enter")
        await page.get_by_role("slider", name="Position in the song").fill("1")
        await page.get_by_role("button", name="Play the stems together").click()
        await page.get_by_role("radio", name="Original").check()
        await expect(page.locator(".track.silent")).to_have_count(3)
        await assert_accessible(page)
        await expect(page.get_by_role("button", name="Play the stems together")).to_be_visible()  # the end
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Hear the split")).to_be_focused()


async def test_people_groups_topics_and_a_channel(
    browser: Browser, url: str, tg: Telegram, bot: Bot, tmp_path: Path
) -> None:
    songs = [tmp_path / f"News ({stem}).mp3" for stem in ("Vocals", "Drums")]
    for song in songs:
        mp3(song)
    async with quiet_page(browser, url, **PHONE) as page:
        await page.get_by_role("button", name="People and chats").click()
        await page.get_by_placeholder("Name").fill("小红")
        await page.get_by_label("Language").select_option("zh-hans")
        await page.get_by_placeholder("Name").press("Enter")
        await expect(page.get_by_role("heading", name="人员与聊天")).to_be_visible()  # the person's language
        robin, *_, ming = tg.users
        drafts = [page.locator(f"#{kind}-name") for kind in ("person", "group")]
        for draft in drafts:
            await draft.fill("Draft")
        await page.get_by_label("语言").select_option("ru")
        bot.says(robin, "Who is there?")
        await expect(page.locator("header .count")).to_have_text("1")
        for draft in drafts:
            await expect(draft).to_have_value("Draft")
        await expect(drafts[-1]).to_be_focused()
        await expect(page.get_by_label("语言")).to_have_value("ru")
        await page.get_by_role("button", name="屏蔽机器人").click()
        await expect(page.get_by_role("button", name="解除屏蔽")).to_be_visible()
        assert tg.chats[ming].is_bot_out
        await assert_accessible(page)
        await page.get_by_role("button", name="Robin").click()
        await expect(page.locator(".bubble")).to_have_text(re.compile("Who is there"))

        await expect(page.get_by_placeholder("Title")).to_have_value("Draft")
        await page.get_by_placeholder("Title").fill("Orchestra")
        await page.get_by_label("Kind").select_option("forum")
        await page.get_by_placeholder("Title").press("Enter")
        await expect(page.get_by_placeholder("Title")).to_have_value("")
        await page.get_by_placeholder("New topic").fill("Songs")
        bot.says(ming, "Are you there?")
        await expect(page.locator("header .count")).to_have_text("1")
        await expect(page.get_by_placeholder("New topic")).to_have_value("Songs")
        await page.get_by_placeholder("New topic").press("Enter")
        await page.get_by_role("button", name="Take the bot's right").click()
        await expect(page.get_by_role("button", name="Give the bot its rights back")).to_be_visible()
        await page.keyboard.press("Escape")
        await page.get_by_role("combobox", name="Message").fill("in the topic")
        await page.keyboard.press("Enter")
        [forum] = [chat for chat in tg.chats.values() if chat.title == "Orchestra"]
        await tg.wait_for(
            lambda: [message.text for message in tg.messages(forum.id)][-1:] == ["in the topic"]
        )
        [topic] = forum.topics
        assert tg.messages(forum.id)[-1].thread_id == topic
        assert "can_send_audios" in forum.bot_forbidden
        await page.reload()
        await expect(page.get_by_role("heading", name="Songs")).to_be_visible()
        await expect(page.locator(".bubble")).to_have_text(re.compile("in the topic"))

        await page.get_by_role("button", name="People and chats").click()
        await page.get_by_placeholder("Title").fill("Radio")
        await page.get_by_label("Kind").select_option("channel")
        await page.get_by_placeholder("Title").press("Enter")
        await expect(page.get_by_placeholder("Title")).to_have_value("")
        await expect(page.get_by_role("button", name="Remove the bot")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("heading", name="Radio")).to_be_visible()
        await page.locator("input[type=file]").set_input_files(songs[0])
        await expect(page.get_by_role("article", name="Radio: ♪ News (Vocals)")).to_be_visible()
        [channel] = [chat for chat in tg.chats.values() if chat.type == "channel"]
        [post] = tg.messages(channel.id)
        await bot.sends(channel.id, *songs, reply_to=post)
        await expect(page.get_by_role("button", name="Hear the split")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("button", name="Hear the split")).to_be_visible()


async def test_the_bench_tells_which_call_made_a_message_and_makes_the_next_one_fail(
    browser: Browser, url: str, tg: Telegram
) -> None:
    base = url.partition("/#")[0]
    async with (
        quiet_page(browser, url, script=BREAK) as page,
        httpx.AsyncClient(base_url=f"{base}/bot{tg.token}/", trust_env=False) as api,
    ):
        await expect(page.get_by_role("heading", name="What can this bot do?")).to_be_visible()
        chat_id = next(iter(tg.users))
        await page.clock.install()
        hello = {"chat_id": chat_id, "text": "Hello"}
        await api.post("sendMessage", json=hello)
        await page.get_by_role("button", name="More about this message").click()
        await page.get_by_role("menuitem", name="Which call made this?").click()
        made = page.locator(".calls .found")
        await expect(made).to_contain_text("sendMessage")
        await expect(made).to_contain_text('"text": "Hello"')
        await assert_accessible(page)
        await made.get_by_role("button", name="Show the message").click()
        await expect(page.locator("li.found .bubble")).to_be_visible()

        await page.evaluate(LOST_AND_CUT_OFF)
        async with page.expect_response("**/records?*"):
            await api.post("sendMessage", json=hello)
        async with page.expect_response("**/records?*"):  # the bench goes on by itself
            await page.clock.fast_forward(2000)
        await page.clock.fast_forward(2000)
        await expect(page.locator(".calls li", has_text="sendMessage")).to_have_count(2)
        await page.get_by_label("Fault", exact=True).select_option("server_error")
        await page.get_by_label("Method", exact=True).select_option("sendMessage")
        await page.get_by_role("button", name="Let it fail").click()
        await expect(page.get_by_text("server error (500) at sendMessage, the next call")).to_be_visible()
        assert (await api.post("sendMessage", json=hello)).status_code == 500
        await expect(page.locator(".calls .refused")).to_contain_text("500")
        await expect(page.get_by_text("server error (500) at sendMessage")).to_have_count(0)
        await page.get_by_role("searchbox", name="Filter by method").fill("edit")
        await expect(page.locator(".calls li")).to_have_count(0)
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Bench")).to_be_focused()
