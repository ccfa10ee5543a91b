"""A bot is well only while updates really come to it."""

import asyncio

import pytest
from product import Clock, Product, until
from running import running

from bot.polling import SECOND_POLLER
from bot.update_health import DISTURBED_S, LONGEST_SILENCE_S, UpdateHealth, watch_webhook
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram

OURS = "https://127.0.0.1:9/telegram"  # a closed port


def test_a_bot_without_answers_from_telegram_is_in_trouble() -> None:
    clock = Clock()
    update_health = UpdateHealth(clock)
    assert "yet" in update_health.trouble()
    update_health.succeeded()
    assert update_health.trouble() == ""
    clock.advance(LONGEST_SILENCE_S + 1)
    assert "Telegram has not answered for 61 s" in update_health.trouble()
    update_health.succeeded()
    assert update_health.trouble() == ""


def test_a_second_poller_stays_trouble_for_a_while() -> None:
    clock = Clock()
    update_health = UpdateHealth(clock)
    update_health.disturbed(SECOND_POLLER)
    update_health.succeeded()
    assert update_health.trouble() == SECOND_POLLER
    clock.advance(DISTURBED_S)
    update_health.succeeded()
    assert update_health.trouble() == ""


async def test_a_poll_that_fails_is_trouble_until_one_succeeds(product: Product, telegram: Telegram) -> None:
    update_health = UpdateHealth()
    telegram.faults.add(FaultKind.SERVER_ERROR, method="getUpdates", times=None)
    async with running(product.poller(update_health).run):
        await until(lambda: "updates cannot be fetched" in update_health.trouble())
        telegram.faults.clear()
        telegram.send_text(telegram.add_user("Alice").id, "hello")
        await until(lambda: update_health.trouble() == "")


async def test_a_second_poller_is_trouble(product: Product, telegram: Telegram) -> None:
    update_health = UpdateHealth()
    async with running(product.poller(update_health).run):
        await telegram.wait_for(lambda: telegram.updates.is_awaited)
        other = asyncio.create_task(product.bot.get_updates(timeout=20))
        await until(lambda: update_health.trouble() == SECOND_POLLER)
        await asyncio.gather(other, return_exceptions=True)


async def test_updates_that_telegram_cannot_deliver_are_trouble(product: Product, telegram: Telegram) -> None:
    update_health = UpdateHealth()
    await product.bot.set_webhook(OURS)
    async with running(lambda stop: watch_webhook(product.bot, OURS, update_health, stop, every_s=0.05)):
        await until(lambda: update_health.trouble() == "")
        telegram.send_text(telegram.add_user("Alice").id, "hello")  # no server is there
        await until(lambda: "could not bring updates" in update_health.trouble())


async def test_a_webhook_of_another_program_is_trouble(
    product: Product, caplog: pytest.LogCaptureFixture
) -> None:
    update_health = UpdateHealth()
    await product.bot.set_webhook(OURS)
    async with running(lambda stop: watch_webhook(product.bot, OURS, update_health, stop, every_s=0.05)):
        await until(lambda: update_health.trouble() == "")
        await product.bot.set_webhook("https://other.example/a-secret")
        await until(lambda: "elsewhere: other.example" in update_health.trouble())
        await product.bot.delete_webhook()
        await until(lambda: "its webhook was removed" in update_health.trouble())
        await product.bot.set_webhook(OURS)
        await until(lambda: update_health.trouble() == "")
    assert "a-secret" not in caplog.text
