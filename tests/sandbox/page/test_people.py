"""People, groups and topics in the page, with the real bot."""

from pathlib import Path

import pytest
from browser import assert_accessible
from playwright.async_api import Page, expect
from tones import mp3

from sandbox.telegram.faults import DOWNLOAD, FaultKind

from .conftest import PHONE, Sandbox, drop, said

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def write(page: Page, text: str) -> None:
    await page.get_by_role("combobox", name="Message").fill(text)
    await page.keyboard.press("Enter")


async def test_a_stranger_is_let_in_and_another_one_invited(world: Sandbox, tmp_path: Path) -> None:
    mp3(tmp_path / "Mine.mp3", title="Mine")
    stranger, guest = (world.telegram.add_user(name) for name in ("Sam", "Kim"))
    async with world.page(stranger, **PHONE) as page, world.page(world.admin) as admin:
        await write(page, "/start")
        await expect(said(page, "I've asked its operator to let you in")).to_be_visible()
        await admin.get_by_role("button", name="Let in").click()
        await expect(said(page, "Access granted")).to_be_visible()

        await write(admin, "/users")
        await admin.get_by_role("button", name="Invite someone").click()
        invitation = await said(admin, "t.me/").get_by_role("link").inner_text()
        await page.get_by_role("button", name="People and chats").click()
        await page.get_by_role("button", name="Kim").click()
        await page.keyboard.press("Escape")
        await write(page, f"Look: {invitation}")
        # the answer moves the link: a button of the mouse that is held just then is released elsewhere
        await expect(said(page, "I've asked its operator to let you in")).to_be_visible()
        await page.get_by_role("link", name=invitation).click()
        await expect(said(page, "Drop a song here and I'll split it into stems")).to_be_visible()
        await drop(page, tmp_path / "Mine.mp3")
        await expect(page.get_by_role("button", name="Vocals + instrumental")).to_be_visible()
    assert guest.id in world.telegram.users


async def test_a_song_in_a_topic_is_split_there_at_the_second_try(world: Sandbox, tmp_path: Path) -> None:
    mp3(tmp_path / "Demo.mp3", title="Demo")
    async with world.page(world.guest("Rosa"), **PHONE) as page:
        await page.get_by_role("button", name="People and chats").click()
        await page.get_by_placeholder("Title").fill("Choir")
        await page.get_by_label("Kind").select_option("forum")
        await page.get_by_placeholder("Title").press("Enter")
        for topic in ("Lyrics", "Demos"):
            await page.get_by_placeholder("New topic").fill(topic)
            await page.get_by_placeholder("New topic").press("Enter")
            await expect(page.get_by_role("button", name=f"# {topic}")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("heading", name="Demos")).to_be_visible()
        await page.get_by_role("combobox", name="Message").fill("/stems")
        world.telegram.faults.add(FaultKind.FILE_GONE, method=DOWNLOAD, times=None)
        await drop(page, tmp_path / "Demo.mp3")
        await page.get_by_role("button", name="Vocals + instrumental").click()
        await expect(said(page, "That did not work (code 451)")).to_be_visible()
        await assert_accessible(page)
        world.telegram.faults.clear()
        await page.get_by_role("button", name="Try again").click()
        await expect(said(page, "2 stems are here")).to_be_visible()
        await expect(said(page, "That did not work")).to_have_count(0)
        await page.reload()
        await expect(page.get_by_role("button", name="Play Demo (Vocals)")).to_be_visible()
        await page.get_by_role("button", name="People and chats").click()
        await page.get_by_role("button", name="# Lyrics").click()
        await expect(page.get_by_role("heading", name="Lyrics")).to_be_visible()
        await expect(page.locator(".sound")).to_have_count(0)


async def test_a_group_mutes_the_bot_becomes_a_supergroup_and_is_left(world: Sandbox, tmp_path: Path) -> None:
    mp3(tmp_path / "Ours.mp3", title="Ours")
    owner, member = world.guest("Olga"), world.guest("Max")
    group = world.telegram.add_group("Quartet", [owner, member])
    async with world.page(owner, group.id) as page, world.page(member, group.id) as other:
        await page.get_by_role("combobox", name="Message").fill("/stems")
        await drop(page, tmp_path / "Ours.mp3")
        await expect(page.get_by_role("button", name="Vocals + instrumental")).to_be_visible()
        await do(page, "Take the bot's right to send music")
        await page.get_by_role("button", name="Vocals + instrumental").click()
        await expect(said(page, "I may not send music in this chat")).to_be_visible()
        await assert_accessible(page)
        await do(page, "Give the bot its rights back")
        await expect(said(page, "2 stems are here")).to_be_visible()

        await do(page, "Upgrade to a supergroup")
        for shown in (page, other):
            await expect(shown.get_by_text("The group became a supergroup", exact=True)).to_be_visible()
        await do(other, "Leave the group")
        await expect(other.get_by_role("heading", name="stemdrop")).to_be_visible()
        await expect(page.get_by_text("Max left", exact=True)).to_be_visible()

        await do(other, "Block the bot")
        await do(other, "Unblock the bot")
        await write(other, "/start")
        await expect(said(other, "Drop a song here")).to_be_visible()


async def do(page: Page, action: str) -> None:
    """Do something to the shown chat."""
    await page.get_by_role("button", name="People and chats").click()
    button = page.get_by_role("button", name=action, exact=True)
    await button.click()
    await expect(button).to_have_count(0)
    await page.keyboard.press("Escape")
