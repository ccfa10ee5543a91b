"""What a message may hold and what can be done with it, at a bot that a test plays."""

from pathlib import Path

import pytest
from browser import assert_accessible, quiet_page
from playwright.async_api import Browser, expect
from tones import mp3

from sandbox.telegram.person_actions import Telegram

from .conftest import PHONE, SHOW, Bot, drop

pytestmark = pytest.mark.asyncio(loop_scope="package")

MARKUP = "<img src=x onerror=alert(1)><b>bold</b>"
GROW = """() => {
  document.querySelector(".messages").lastElementChild.style.paddingBottom = "300px";
  document.querySelector(".scroller").dispatchEvent(new Event("scroll"));
}"""
HOSTILE = [
    MARKUP,
    "שיר \u202ehttps://evil.example\u202c ערב",  # right to left, with an override of the direction
    "👩‍👩‍👧‍👦🏳️‍🌈🎹" * 12,
    "W" * 300,
    "https://example.org/" + "long/" * 60,
    "𝕹𝖔 & &amp; \\n ${x} {name}",
]
# Keeps the answers to requests whose path ends with what `heldPath` names until the test lets them through.
HOLD = """const held = fetch;
window.heldPath = "/chat/chats";
window.fetch = async (...all) => {
  if (!all[1]?.body && String(all[0]).endsWith(window.heldPath))
    await new Promise((resolve) => (window.letThrough = resolve));
  return held(...all);
};"""


async def test_what_is_done_before_the_chat_is_there_is_meant_for_it(
    browser: Browser, url: str, tg: Telegram, bot: Bot, tmp_path: Path
) -> None:
    sam, kim = (tg.add_user(name) for name in ("Sam", "Kim"))
    bot.says(kim.id, "Before")
    mp3(tmp_path / "song.mp3", title="Early")
    async with quiet_page(browser, url, script=SHOW.format(sam.id, sam.id) + ";" + HOLD) as page:
        await drop(page, tmp_path / "song.mp3")
        await page.evaluate("window.letThrough()")
        await expect(page.get_by_role("button", name="Play Early")).to_be_visible()

        await page.evaluate("path => { window.heldPath = path; }", f"/{kim.id}/messages")
        await page.get_by_role("button", name="People and chats").click()
        await page.get_by_role("button", name="Kim").click()
        await page.keyboard.press("Escape")
        bot.says(kim.id, "Meanwhile")
        await page.get_by_role("combobox", name="Message").fill("Mine")
        await page.keyboard.press("Enter")
        await tg.wait_for(lambda: len(tg.messages(kim.id)) == 3)
        await expect(page.get_by_role("button", name="Play Early")).to_have_count(0)
        await expect(page.get_by_text("What can this bot do?")).to_have_count(0)  # Kim's chat is not empty
        await page.evaluate("window.letThrough()")
        await expect(page.locator(".messages .text")).to_have_text(["Before", "Meanwhile", "Mine"])
    assert [message.kind for message in tg.messages(sam.id)] == ["audio"]


async def test_names_and_texts_stay_texts_at_the_width_of_a_phone(
    browser: Browser, url: str, tg: Telegram, bot: Bot, tmp_path: Path
) -> None:
    person = tg.add_user(MARKUP[:60], language_code="ar")
    group = tg.add_group(MARKUP + "W" * 80, [person], forum=True)
    topic = tg.add_topic(group.id, MARKUP)
    for chat_id in (person.id, group.id):
        for text in HOSTILE:
            mp3(tmp_path / "song.mp3", title=text)
            song = await tg.send_file(
                chat_id, tmp_path / "song.mp3", file_name=f"{text[:60]}.mp3".replace("/", "_")
            )
            bot.says(chat_id, text, [{"text": text[:60], "callback_data": "x"}] * 2, reply_to=song)
    async with quiet_page(browser, url, script=SHOW.format(person.id, person.id), **PHONE) as page:
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            await expect(page.locator(".messages .text")).to_have_text(HOSTILE)
            await assert_accessible(page)
            assert await page.locator(".messages img, .messages b b, .messages script").count() == 0
            assert await page.evaluate("document.querySelector('.scroller').scrollWidth") <= 360
        await page.get_by_role("button", name="People and chats").click()
        await expect(page.locator(".people .row b").first).to_have_text(MARKUP[:60])
        await assert_accessible(page)
        assert await page.evaluate("document.querySelector('.people').scrollWidth <= innerWidth")
        await page.locator(f"#topic-{group.id}-{topic}").click()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("heading", level=1)).to_contain_text(MARKUP)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_a_message_is_copied_downloaded_deleted_and_found_by_its_reply(
    browser: Browser, url: str, tg: Telegram, bot: Bot, tmp_path: Path
) -> None:
    person = tg.add_user("Robin")
    song = tmp_path / "Song (Vocals).mp3"
    content = mp3(song)
    first = bot.says(person.id, "The first of many")
    for number in range(30):
        bot.says(person.id, f"Line {number}")
    await bot.sends(person.id, song, reply_to=first)
    script = SHOW.format(person.id, person.id)
    access = ["clipboard-read", "clipboard-write"]
    async with quiet_page(
        browser, url, script=script, permissions=access, reduced_motion="no-preference"
    ) as page:
        sound = page.get_by_role("article", name="Song (Vocals)")
        async with page.expect_download() as downloading:
            await sound.get_by_role("link", name="Download Song (Vocals)").click()
        assert (await downloading.value).suggested_filename == song.name
        await sound.get_by_role("button", name="More about this message").click()
        await assert_accessible(page)
        async with page.expect_download() as downloading:
            await page.get_by_role("menuitem", name="Download").click()
        await (await downloading.value).save_as(tmp_path / "downloaded.mp3")
        assert (tmp_path / "downloaded.mp3").read_bytes() == content

        await sound.get_by_role("button", name="The first of many").click()
        await expect(page.locator(f"#message-{first.message_id}")).to_be_in_viewport()
        bot.says(person.id, "News")
        await expect(page.get_by_role("button", name="Go to the latest message, 1 unread")).to_be_visible()
        found = page.get_by_role("article", name="The first of many")
        await found.get_by_role("button", name="More about this message").click()
        await page.get_by_role("menuitem", name="Copy the text").click()
        await expect(page.get_by_role("log").last).to_contain_text("Copied")
        assert await page.evaluate("navigator.clipboard.readText()") == "The first of many"
        await page.get_by_role("button", name="Go to the latest message").click()
        await expect(page.get_by_role("article", name="News")).to_be_in_viewport()
        # the chat stays at its end when it grows before it was told of an earlier scrolling
        await page.evaluate(GROW)
        await expect(page.get_by_role("button", name="Go to the latest message")).to_be_hidden()
        await page.get_by_role("article", name="News").get_by_role("button", name="More").click()
        await page.get_by_role("menuitem", name="Delete").click()
        await expect(page.get_by_role("article", name="News")).to_have_count(0)

        field = page.get_by_role("combobox", name="Message")
        await field.fill("Helo")
        await field.press("Enter")
        await page.get_by_role("article", name="Helo").get_by_role("button", name="More").click()
        await page.get_by_role("menuitem", name="Edit").click()
        await expect(field).to_have_value("Helo")
        await field.fill("Hello")
        await field.press("Enter")
        await expect(page.get_by_role("article", name="Hello")).to_be_visible()
        await expect(field).to_have_value("")
        await found.scroll_into_view_if_needed()
        await found.get_by_role("button", name="More about this message").click()
        await expect(page.get_by_role("menuitem", name="Edit")).to_have_count(0)  # the bot's
