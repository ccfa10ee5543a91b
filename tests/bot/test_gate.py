"""Who gets in: the one-time admin link, invitations, and what strangers and removed users may still do."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from product import BotRoom, Product, open_product, until
from tcp_proxy import TcpProxy

from bot.run import offer_admin_link, run_bot
from bot.update_health import UpdateHealth
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.errors import TryLater
from stemdrop.services.admin_alerts import AdminAlerts
from stemdrop.storage.keys import ADMINS

CLOSED = "This bot is private. Ask its operator to let you in; your Telegram ID is {}."
ASKED = (
    "This bot is private. I've asked its operator to let you in, and I'll tell you when they do. "
    "Your Telegram ID is {}."
)
USED = "This link has been used or has expired. Ask for a new one."


@pytest.fixture
async def new_room(redis_url: str, telegram: Telegram) -> AsyncIterator[BotRoom]:
    """A private bot without an admin."""
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, ACCESS="invite") as product,
    ):
        application = product.application()
        await application.initialize()
        yield BotRoom(product, application)
        await application.shutdown()


async def offered(product: Product, capsys: pytest.CaptureFixture[str]) -> str:
    """What start-up prints."""
    await offer_admin_link(product.users, product.bot.username)
    return capsys.readouterr().out


async def word_of(room: BotRoom) -> str:
    return await room.product.users.first_admin_word()


async def test_the_link_is_printed_until_it_is_used(
    new_room: BotRoom, alice: User, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = await offered(new_room.product, capsys)
    assert printed.count("\n") == 1
    link = printed.split()[-1]
    assert link.startswith("https://t.me/stemdrop_sandbox_bot?start=")
    # several processes that start print the same one
    assert await offered(new_room.product, capsys) == printed
    (answer,) = await new_room.says(alice, f"/start {link.partition('=')[2]}")
    assert answer.text.startswith("You run this bot now.")
    assert await offered(new_room.product, capsys) == ""
    assert not await new_room.product.redis.exists("stemdrop:people:admin-link")


async def test_the_bots_start_waits_for_a_redis_that_is_away(
    redis_url: str, telegram: Telegram, caplog: pytest.LogCaptureFixture
) -> None:
    port, stop = urlsplit(redis_url).port or 0, asyncio.Event()
    async with (
        run_telegram(telegram) as url,
        TcpProxy(lambda: [port]).run() as wire,
        open_product(redis_url.replace(f":{port}", f":{wire.port}"), telegram, url) as product,
    ):
        wire.cut()
        bot = asyncio.create_task(run_bot(product, UpdateHealth(), stop))
        await until(lambda: bot.done() or "Redis cannot be reached" in caplog.text)
        stop.set()
        await bot
        wire.mend()


async def test_the_new_admin_is_welcomed_although_the_first_reply_failed(
    new_room: BotRoom, alice: User
) -> None:
    """The message is handled again by then, and its word is used up."""
    telegram = new_room.telegram
    for method in ("setMyCommands", "sendMessage"):
        telegram.faults.add(FaultKind.SERVER_ERROR, method=method)
    assert await new_room.says(alice, f"/start {await word_of(new_room)}") == []
    for _ in range(2):
        with suppress(TryLater):
            await new_room.handle_again()
    (welcome,) = telegram.bot_messages(alice.id)
    assert welcome.text.startswith("You run this bot now.")
    listed = [commands for (scope, _), commands in telegram.commands.items() if str(alice.id) in scope]
    assert "admin" in {command["command"] for command in listed[0]}
    # but not for ever: who is removed does not come back by it
    word = json.loads(new_room._last)["message"]["text"].split()[-1]
    await new_room.product.redis.srem(ADMINS, str(alice.id))
    assert not await new_room.product.users.become_admin(alice.id, word)


async def test_two_users_who_open_the_link_at_once_make_one_admin(new_room: BotRoom, alice: User) -> None:
    bob = new_room.telegram.add_user("Bob")
    word = await word_of(new_room)
    for user in (alice, bob):
        new_room.telegram.send_text(user.id, f"/start {word}")
    await new_room.handle()
    assert await new_room.product.users.admins() == {alice.id}
    assert new_room.telegram.bot_messages(bob.id)[-1].text == USED
    assert "This bot is private" in (await new_room.says(bob, "/help"))[-1].text


async def test_twenty_users_who_open_the_link_at_once_make_one_admin(new_room: BotRoom) -> None:
    word = await word_of(new_room)
    users = new_room.product.users
    won = await asyncio.gather(*(users.become_admin(number, word) for number in range(1, 21)))
    assert won.count(True) == 1
    assert len(await users.admins()) == 1


async def test_a_link_that_is_handled_twice_is_confirmed_twice(new_room: BotRoom, alice: User) -> None:
    word = await word_of(new_room)
    (first,) = await new_room.says(alice, f"/start {word}")
    (again,) = await new_room.says(alice, f"/start {word}")
    assert first.text.startswith("You run this bot now.")
    assert again.text == first.text


async def test_a_wrong_word_makes_no_admin(new_room: BotRoom, alice: User) -> None:
    await word_of(new_room)
    (answer,) = await new_room.says(alice, "/start something")
    assert answer.text == USED
    assert await new_room.product.users.admins() == set()


async def test_the_new_admin_is_shown_the_commands_of_admins(new_room: BotRoom, alice: User) -> None:
    await new_room.says(alice, f"/start {await word_of(new_room)}")
    scopes = [scope for scope, _ in new_room.telegram.commands]
    assert any(str(alice.id) in scope for scope in scopes)


async def test_a_stranger_is_told_once_an_hour(private_room: BotRoom, alice: User) -> None:
    texts = ["/start", "hello", "/help", "/jobs", "/stems"]
    said = [await private_room.says(alice, text) for text in texts]
    assert [message.text for message in said[0]] == [ASKED.format(alice.id)]
    assert said[1:] == [[]] * 4
    (key,) = [key async for key in private_room.product.redis.scan_iter("stemdrop:throttle:*")]
    assert 3500 < await private_room.product.redis.ttl(key) <= 3600
    await private_room.product.redis.delete(key)
    assert len(await private_room.says(alice, "hello")) == 1


async def test_a_stranger_is_told_although_the_first_reply_failed(private_room: BotRoom, alice: User) -> None:
    private_room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", chat_id=alice.id)
    assert await private_room.says(alice, "/help") == []
    await private_room.handle_again()
    assert len(private_room.telegram.bot_messages(alice.id)) == 1


async def test_in_groups_strangers_are_not_answered(private_room: BotRoom, alice: User, song: Path) -> None:
    group = private_room.telegram.add_group("Band", [alice])
    sent = await private_room.sends(alice, song, chat_id=group.id, caption="/stems")
    for text in ("/help", "/stems", "@stemdrop_sandbox_bot", "/users", "/privacy"):
        await private_room.says(alice, text, chat_id=group.id)
    assert private_room.after(sent) == []
    assert await private_room.product.jobs(alice.id) == []


async def test_a_removed_user_may_only_ask_about_their_data(
    private_room: BotRoom, boss: User, alice: User, song: Path
) -> None:
    await private_room.product.users.add(alice.id)
    menu = await private_room.menu(alice, song)
    await private_room.taps(menu, 0)
    (listed,) = await private_room.says(alice, "/jobs")
    (languages,) = await private_room.says(alice, "/language")
    await private_room.product.users.remove(alice.id)
    for message in (menu, listed):
        query = await private_room.presses(message, "Cancel", alice)
        assert query.answer_text == CLOSED.format(alice.id)
    assert len(await private_room.says(alice, "/help")) == 1
    assert await private_room.sends(alice, song)
    assert len(await private_room.product.jobs(alice.id)) == 1
    await private_room.presses(languages, "简体中文")
    assert (await private_room.product.users.person(alice.id)).language == "zh_Hans"
    await private_room.presses(languages, "English")
    for command in ("/privacy", "/language", "/delete"):
        assert len(await private_room.says(alice, command)) == 1
    asked = private_room.telegram.bot_messages(alice.id)[-1]
    await private_room.presses(asked, "Delete everything")
    assert await private_room.product.jobs(alice.id) == []


async def test_alerts_are_in_the_language_of_the_admins_telegram(new_room: BotRoom) -> None:
    mei = new_room.telegram.add_user("Mei", language_code="zh-hans")
    said = new_room.telegram.send_text(mei.id, f"/start {await word_of(new_room)}")
    await new_room.handle()
    product = new_room.product
    await AdminAlerts(product.bot, product.users, product.translations).failed("402")
    shown = new_room.after(said)
    assert shown[-1].text == product.translations.language("zh")("alert.credits_out")
