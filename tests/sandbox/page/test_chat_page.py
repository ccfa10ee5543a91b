"""The page in a real browser, at a bot that a test plays."""

import re
from pathlib import Path

import pytest
from browser import assert_accessible, has_shown, quiet_page
from playwright.async_api import Browser, Page, expect
from tones import mp3

from sandbox.telegram.chats import Message
from sandbox.telegram.person_actions import Telegram

from .conftest import PHONE, Bot

pytestmark = pytest.mark.asyncio(loop_scope="package")

MARKUP = '<img src=x onerror="document.title=1"> <b>bold</b> https://example.org/?a=<script> /start'
# Lets the question for the microphone wait until the test answers it.
HOLD_MICROPHONE = """() => {
  const devices = navigator.mediaDevices, open = devices.getUserMedia.bind(devices);
  [window.questions, window.tracks] = [[], []];
  devices.getUserMedia = async (wanted) => {
    await new Promise((resolve) => window.questions.push(resolve));
    const stream = await open(wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
}"""
TAP_TWICE = "(button) => { button.click(); button.click(); }"


async def the_person(tg: Telegram) -> int:
    """The id of the person whom the page made, and of that person's chat."""
    await tg.wait_for(lambda: tg.users)
    return next(iter(tg.users))


async def sent(tg: Telegram, chat_id: int, count: int) -> list[Message]:
    await tg.wait_for(lambda: len(tg.messages(chat_id)) >= count)
    return tg.messages(chat_id)


async def test_a_song_is_sent_a_button_tapped_and_the_stems_play(
    browser: Browser, url: str, tg: Telegram, bot: Bot, tmp_path: Path
) -> None:
    songs = [tmp_path / f"Song ({stem}).mp3" for stem in ("Vocals", "Drums")]
    for song in songs:
        mp3(song, seconds=3)
    async with quiet_page(browser, url, **PHONE) as page:
        await expect(page.get_by_role("heading", name="What can this bot do?")).to_be_visible()
        await assert_accessible(page)
        chat_id = await the_person(tg)
        await expect(page.get_by_role("button", name=re.compile("^Send “.+”$"))).to_have_count(3)
        await page.get_by_role("button", name="Send “Morning Line”").click()
        [original] = await sent(tg, chat_id, 1)
        assert original.media
        assert original.media["title"] == "Morning Line"

        menu = bot.says(chat_id, MARKUP, [{"text": "🎤 Vocals", "callback_data": "v"}], reply_to=original)
        await expect(page.locator(".text")).to_have_text(MARKUP)  # as text, nothing of it as markup
        assert await page.locator(".text img, .text b").count() == 0
        for answer, is_alert in (("Taken", False), ("No credits", True)):
            await tap_and_answer(page, tg, answer, is_alert)
        await page.get_by_role("button", name="You ♪ Morning Line").click()
        await expect(page.locator(f"#message-{original.message_id}")).to_be_focused()

        kinds = [{"type": "bold"}, {"type": "text_link", "url": "https://x.org"}]
        kinds += [{"type": "text_link", "url": "javascript:alert(1)"}]
        entities = [{**kind, "offset": 3 * place, "length": 3} for place, kind in enumerate(kinds)]
        tg.edit(menu, {"text": "Splitting", "entities": entities}, None)
        await expect(page.locator(".text")).to_have_text("Splitting")
        formatted = '<b>Spl</b><a href="https://x.org" target="_blank" rel="noopener noreferrer">itt</a>ing'
        assert await page.locator(".text").inner_html() == formatted
        tg.add_event(chat_id, "action", {"action": "upload_document"})
        await has_shown(page, "sending a file …")
        await bot.sends(chat_id, *songs)
        await page.get_by_role("button", name="Play Song (Vocals)").click()
        await has_shown(page, "Pause Song (Drums)")  # the album goes on
        slider = page.get_by_role("slider", name="Position in Song (Drums)")
        await expect(slider).to_have_attribute("max", re.compile(r"^3(\.0\d*)?$"))
        await expect(page.locator(".joins-above")).to_have_count(1)
        for colours in ("Night colours", "Day colours"):
            await page.get_by_role("button", name=colours).click()
            await assert_accessible(page)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360

        await page.reload()
        await expect(page.get_by_role("article")).to_have_count(4)


async def tap_and_answer(page: Page, tg: Telegram, answer: str, is_alert: bool) -> None:
    await page.get_by_role("button", name="🎤 Vocals").click()
    query = (await tg.wait_for(lambda: tg.unanswered_queries))[0]
    query.is_answered, query.answer_text, query.is_alert = True, answer, is_alert
    content = {"callback_query_id": query.id, "text": answer, "show_alert": is_alert}
    tg.add_event(query.message.chat.id, "callback_answer", content)
    if not is_alert:
        await expect(page.get_by_role("log").last).to_contain_text(answer)  # beside the toast, which goes
        return
    await expect(page.get_by_role("alertdialog", name=answer)).to_be_visible()
    await assert_accessible(page)
    await page.get_by_role("button", name="OK").click()


async def test_with_the_keyboard_alone_in_chinese_commands_replies_and_an_album_are_sent(
    browser: Browser, url: str, tg: Telegram, bot: Bot, tmp_path: Path
) -> None:
    commands = [{"command": "start", "description": "begin"}, {"command": "help", "description": "help"}]
    tg.commands['{"type": "default"}', ""] = commands
    async with quiet_page(browser, url, locale="zh-CN") as page:
        await expect(page.get_by_role("heading", name="这个机器人能做什么？")).to_be_visible()
        chat_id = await the_person(tg)
        assert tg.users[chat_id].language_code == "zh-hans"
        field = page.get_by_role("combobox", name="消息")
        await field.focus()
        await page.keyboard.type("/")
        await expect(page.get_by_role("option")).to_have_count(2)
        await assert_accessible(page)
        await page.keyboard.press("ArrowUp")
        await page.keyboard.press("Enter")
        assert (await sent(tg, chat_id, 1))[-1].text == "/help"

        bot.says(chat_id, "Help", [{"text": "A", "callback_data": "a"}])
        await expect(page.locator(".messages article")).to_have_count(2)
        for _ in range(20):
            await page.keyboard.press("Shift+Tab")
            if await page.evaluate("Boolean(document.activeElement.closest('article .meta'))"):
                break
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("menuitem", name="回复")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.keyboard.type("Thanks")
        await page.keyboard.press("Enter")
        reply = (await sent(tg, chat_id, 3))[-1]
        assert reply.reply_to
        assert reply.reply_to.text == "Help"

        songs = [tmp_path / f"{name}.mp3" for name in "ab"]
        for song in songs:
            mp3(song)
        await page.locator("input[type=file]").set_input_files(songs)
        album = (await sent(tg, chat_id, 5))[-2:]
        assert album[0].media_group_id == album[1].media_group_id != ""
        await page.evaluate(HOLD_MICROPHONE)
        await page.get_by_role("button", name="录制语音消息").evaluate(TAP_TWICE)
        await page.evaluate("window.questions.forEach((allow) => allow())")
        await expect(page.locator(".progress")).to_contain_text("正在录音 0:01")
        await assert_accessible(page)
        await page.get_by_role("button", name="发送录音").evaluate(TAP_TWICE)
        voice = (await sent(tg, chat_id, 6))[-1]
        assert voice.media
        assert (voice.kind, voice.media["mime_type"]) == ("voice", "audio/ogg")
        assert await page.evaluate("window.tracks.map((track) => track.readyState)") == ["ended"]
        assert await page.evaluate("window.questions.length") == 1
        for number, name in enumerate(("Harbour Waltz", "Night Circuit"), 7):
            await page.get_by_role("button", name="附件").click()
            await page.get_by_role("menuitem", name=f"发送《{name}》").click()
            ours = (await sent(tg, chat_id, number))[-1]
            assert ours.media
            assert ours.media["title"] == name
