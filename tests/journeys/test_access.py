"""A private bot from its first start: its admin, those let in, strangers, and what holds afterwards."""

import re

import pytest
from chat import Person, number_of
from deployment import Deployment

from stemdrop.chat.translations import load_translations

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"ACCESS": "invite", "DAILY_CREDITS": "100"}
VOCALS, ALL_STEMS = 0, 1
IN_CHINESE, IN_ENGLISH = load_translations().language("zh-hans"), load_translations().language("en")


def word_in(text: str) -> str:
    """The word of the one link in a text."""
    (word,) = re.findall(r"https://t\.me/\w+\?start=([\w-]+)", text)
    return str(word)


async def answer(person: Person, words: str) -> str:
    return (await person.answer_to(person.says(words))).text


async def test_access_is_settled_in_the_chat_and_outlives_a_restart(deployment: Deployment) -> None:
    # the admin is told of spent credits, and so is the log
    deployment.ordinary = ("credits at the separation service",)
    boss, rival = deployment.person("Wei", language="zh-hans"), deployment.person("Rival")
    guest, stranger = deployment.person("Guest"), deployment.person("Stranger")

    # only the first who opens the link becomes the admin
    link = word_in(deployment.environment.logs())
    assert await answer(boss, f"/start {link}") == IN_CHINESE("access.admin")
    assert await answer(rival, f"/start {link}") == IN_ENGLISH("access.word_bad")

    # strangers are told once an hour, and in groups nothing
    told = await answer(stranger, "hello?")
    assert told == IN_ENGLISH("access.asked", id=stranger.id)
    group = deployment.telegram.add_group("Strangers", [deployment.telegram.user(stranger.id)])
    await deployment.telegram.send_file(group.id, deployment.song("Ignored"), caption="/stems")
    ignored = await stranger.sends(deployment.song("Ignored Too"))

    # the admin is asked about both, and refuses one
    await boss.sees(lambda: said(boss).count("🙋") == 2)
    (asking,) = [it for it in deployment.telegram.bot_messages(boss.id) if "Strangers" in it.text]
    await boss.presses(asking, IN_CHINESE("button.refuse"))
    await boss.sees(lambda: asking.text.startswith("✖️ Strangers"))

    # an invitation is for one
    users = await boss.answer_to(boss.says("/users"))
    await boss.presses(users, IN_CHINESE("button.invite"))
    await boss.sees(lambda: "t.me/" in users.text)
    invitation = word_in(users.text)
    assert (await answer(guest, f"/start {invitation}")).startswith("🎵 Drop a song here")
    assert await answer(rival, f"/start {invitation}") == IN_ENGLISH("access.word_bad")

    # credits hold at once, for a menu that was there before
    _, menu = await guest.asks(deployment.song("Dear"))
    assert "20" in await answer(boss, f"/users credits {guest.id} 20")
    query = await guest.taps(menu, ALL_STEMS)
    assert query.answer_text.startswith("This costs 50 credits, and you have 20 a day.")

    # spent credits at the provider are the admin's to know
    deployment.provider.refusal = (402, "no credits")
    await guest.taps(menu, VOCALS)
    await guest.shows(menu, "⚠️ That did not work (code 402).")
    await boss.sees(lambda: IN_CHINESE("alert.credits_out") in said(boss))
    deployment.provider.refusal = None

    # an admin's retry is for the user, in their chat
    snapshots = await boss.answer_to(boss.says("/admin"))
    assert "402" in snapshots.text
    assert "Dear" in snapshots.text
    await boss.presses_twice(snapshots, IN_CHINESE("button.retry", price=IN_CHINESE.credits(10)))
    menu = await guest.shows(menu, "✅ “Dear”: 2 stems are here.")
    assert len(deployment.provider.creates) == 1

    # who is removed is a stranger: the open menu is gone, other buttons say so
    _, opened = await guest.asks(deployment.song("Too Late"))
    users = await boss.answer_to(boss.says("/users"))
    await boss.press_and_wait(users, number_of(users, "Guest"))
    await boss.presses(users, IN_CHINESE("button.remove"))
    await guest.shows(opened, "✖️ Cancelled: “Too Late”.")
    assert (await guest.taps(menu, 0)).answer_text == IN_ENGLISH("access.closed", id=guest.id)
    assert len(deployment.provider.creates) == 1

    await boss.sees(lambda: IN_CHINESE("users.nobody") in said(boss))
    assert "Guest" in await answer(boss, f"/users add {guest.id}")
    await deployment.tasks_rest()
    before = len(deployment.environment.logs())
    await deployment.restart()
    assert "t.me/" not in deployment.environment.logs()[before:]
    assert "Guest" in await answer(boss, "/users")
    stranger.says("and now?")
    _, menu = await guest.asks(deployment.song("In Time"))
    query = await guest.taps(menu, ALL_STEMS)
    assert query.answer_text.startswith("This costs 50 credits, and you have 20 a day.")
    await guest.taps(menu, VOCALS)
    menu = await guest.shows(menu, "✅ “In Time”: 2 stems are here.")
    assert len(deployment.provider.creates) == 2
    # those that came before the guest's were handled
    assert stranger.after(ignored) == []
    assert deployment.telegram.bot_messages(group.id) == []
    assert len(deployment.telegram.bot_messages(stranger.id)) == 1


def said(person: Person) -> str:
    """Everything that the bot's messages in this chat say now."""
    return "\n".join(shown.text for shown in person.telegram.bot_messages(person.chat_id))
