"""The flood limits: short bursts pass, more is a 429 with the right wait, and it is counted."""

from typing import Any

import pytest
import telegram as ptb

from sandbox.telegram.chats import User
from sandbox.telegram.errors import ApiError
from sandbox.telegram.flood import FloodLimits
from sandbox.telegram.person_actions import Telegram


def refused_after_s(limits: FloodLimits, chat_id: int, count: int = 1) -> int | None:
    try:
        limits.take(chat_id, count)
    except ApiError as error:
        return error.parameters["retry_after"]
    return None


def test_a_private_chat_allows_20_at_once_and_then_one_a_second(clock: Any) -> None:
    limits = FloodLimits(clock)
    assert [refused_after_s(limits, 7) for _ in range(21)] == [None] * 20 + [1]
    clock.advance(0.5)
    assert refused_after_s(limits, 7) == 1
    clock.advance(0.5)
    assert [refused_after_s(limits, 7) for _ in range(2)] == [None, 1]
    assert limits.refusals == 3


def test_a_group_allows_20_a_minute(clock: Any) -> None:
    limits = FloodLimits(clock)
    assert [refused_after_s(limits, -7) for _ in range(21)] == [None] * 20 + [3]
    clock.advance(60)
    assert [refused_after_s(limits, -7) for _ in range(21)] == [None] * 20 + [3]


def test_each_item_of_an_album_counts_and_a_refused_album_does_not(clock: Any) -> None:
    limits = FloodLimits(clock)
    assert [refused_after_s(limits, 7, 8) for _ in range(3)] == [None, None, 4]
    assert refused_after_s(limits, 7, 4) is None


def test_all_chats_together_allow_30_a_second(clock: Any) -> None:
    limits = FloodLimits(clock)
    assert [refused_after_s(limits, chat_id) for chat_id in range(1, 32)] == [None] * 30 + [1]
    clock.advance(1)
    assert [refused_after_s(limits, chat_id) for chat_id in range(40, 71)] == [None] * 30 + [1]


async def test_messages_and_edits_of_the_bot_are_limited(
    bot: ptb.Bot, tg: Telegram, alice: User, clock: Any
) -> None:
    sent = await bot.send_message(alice.id, "0")
    for number in range(1, 20):
        await bot.edit_message_text(str(number), alice.id, sent.message_id)
    assert tg.flood_refusals == 0
    with pytest.raises(ptb.error.RetryAfter) as refused:
        await bot.send_message(alice.id, "too much")
    assert refused.value.retry_after.total_seconds() == 1
    assert tg.flood_refusals == 1
    assert tg.messages(alice.id)[-1].text == "19"
    clock.advance(1)
    await bot.send_message(alice.id, "patience")
