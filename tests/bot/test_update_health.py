"""A bot is well only while updates really come to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from house import Clock, House, until

from bot.update_health import DISTURBED_S, LONGEST_SILENCE_S, Reception, watch_webhook
from bot.updates import SECOND_POLLER, poll
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram

OURS = "https://127.0.0.1:9/telegram"  # where nobody is


@asynccontextmanager
async def polling(house: House, reception: Reception) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(poll(house.bot, house.engine, reception, stop))
    try:
        yield
    finally:
        stop.set()
        await running


@asynccontextmanager
async def watching(house: House, reception: Reception) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(watch_webhook(house.bot, OURS, reception, stop, every_s=0.05))
    try:
        yield
    finally:
        stop.set()
        await running


def test_silence_is_no_health() -> None:
    clock = Clock()
    reception = Reception(clock)
    assert "yet" in reception.trouble()
    reception.succeeded()
    assert reception.trouble() == ""
    clock.advance(LONGEST_SILENCE_S + 1)
    assert "Telegram has not answered for 61 s" in reception.trouble()
    reception.succeeded()
    assert reception.trouble() == ""


def test_who_takes_updates_away_is_not_forgotten_at_the_next_that_gets_through() -> None:
    clock = Clock()
    reception = Reception(clock)
    reception.disturbed(SECOND_POLLER)
    reception.succeeded()
    assert reception.trouble() == SECOND_POLLER
    clock.advance(DISTURBED_S)
    reception.succeeded()
    assert reception.trouble() == ""


async def test_a_poll_that_fails_is_trouble_until_one_succeeds(house: House, telegram: Telegram) -> None:
    reception = Reception()
    telegram.faults.add(FaultKind.SERVER_ERROR, method="getUpdates", times=None)
    async with polling(house, reception):
        await until(lambda: "updates cannot be fetched" in reception.trouble())
        telegram.faults.clear()
        telegram.send_text(telegram.add_user("Alice").id, "hello")
        await until(lambda: reception.trouble() == "")


async def test_a_second_poller_is_trouble(house: House, telegram: Telegram) -> None:
    reception = Reception()
    async with polling(house, reception):
        await telegram.wait_for(lambda: telegram.updates.is_awaited)
        other = asyncio.create_task(house.bot.get_updates(timeout=20))
        await until(lambda: reception.trouble() == SECOND_POLLER)
        await asyncio.gather(other, return_exceptions=True)


async def test_updates_that_telegram_cannot_bring_are_trouble(house: House, telegram: Telegram) -> None:
    reception = Reception()
    await house.bot.set_webhook(OURS)
    async with watching(house, reception):
        await until(lambda: reception.trouble() == "")
        telegram.send_text(telegram.add_user("Alice").id, "hello")  # nobody is there to take it
        await until(lambda: "could not bring updates" in reception.trouble())


async def test_a_webhook_that_is_ours_is_health_and_another_is_not(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    reception = Reception()
    await house.bot.set_webhook(OURS)
    async with watching(house, reception):
        await until(lambda: reception.trouble() == "")
        await house.bot.set_webhook("https://other.example/a-secret")
        await until(lambda: "elsewhere: other.example" in reception.trouble())
        await house.bot.delete_webhook()
        await until(lambda: "its webhook was removed" in reception.trouble())
        await house.bot.set_webhook(OURS)
        await until(lambda: reception.trouble() == "")
    assert "a-secret" not in caplog.text
