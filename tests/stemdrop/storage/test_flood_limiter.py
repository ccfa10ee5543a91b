"""Telegram's limits hold over all processes, as judged by the local Telegram's own buckets."""

import asyncio
import itertools

import pytest
from builders import Clock
from redis.asyncio import Redis

from sandbox.telegram.flood import FloodLimits
from stemdrop.errors import StoreUnavailable
from stemdrop.storage.connection import connect
from stemdrop.storage.flood_limiter import AHEAD_S, FloodLimiter

GROUP = -1_000_001
START = 1_790_000_000.0


async def delay(limiter: FloodLimiter, chat_id: int | str | None, messages: int) -> float:
    """Take room that there is now; returns 0, or the seconds after which to ask again."""
    delay_s, is_booked = await limiter.reserve(chat_id, messages, ahead_s=0)
    assert is_booked == (delay_s == 0)
    return delay_s


async def send(
    limiters: list[FloodLimiter], clock: Clock, orders: list[tuple[int, int]]
) -> list[tuple[float, int, int]]:
    """Send (chat, messages) by several processes in turn as soon as allowed; returns time, chat and number.

    Every sending is shown to the judge, who must not refuse it.
    """
    judge = FloodLimits(clock)
    sent = []
    for (chat_id, messages), limiter in zip(orders, itertools.cycle(limiters), strict=False):
        is_booked = False
        while not is_booked:
            delay_s, is_booked = await limiter.reserve(chat_id, messages)
            clock.advance(delay_s)
        judge.take(chat_id, messages)
        sent.append((clock.now, chat_id, messages))
    assert judge.refusals == 0
    return sent


def most_in_a_window(sent: list[tuple[float, int, int]], window_s: float) -> int:
    """Return the most messages in any window of this length."""
    return max(
        sum(messages for at, _, messages in sent if start <= at < start + window_s) for start, _, _ in sent
    )


@pytest.fixture
def limiters(redis: Redis, clock: Clock) -> list[FloodLimiter]:
    return [FloodLimiter(redis, clock) for _ in range(3)]


async def test_a_private_chat_takes_one_message_a_second(limiters: list[FloodLimiter], clock: Clock) -> None:
    sent = await send(limiters, clock, [(7, 1)] * 100)
    assert most_in_a_window(sent, 60) <= 60 + 10
    assert 89 <= clock.now - START <= 91


async def test_a_group_takes_20_in_any_minute(limiters: list[FloodLimiter], clock: Clock) -> None:
    sent = await send(limiters, clock, [(GROUP, 1)] * 100)
    assert most_in_a_window(sent, 60) <= 20
    assert clock.now - START <= 10 * 60


async def test_albums_in_a_group(limiters: list[FloodLimiter], clock: Clock) -> None:
    sent = await send(limiters, clock, [(GROUP, 10), (GROUP, 2), (GROUP, 1)] * 10)
    assert most_in_a_window(sent, 60) <= 20


async def test_albums_in_a_private_chat(limiters: list[FloodLimiter], clock: Clock) -> None:
    await send(limiters, clock, [(7, 10), (7, 2), (7, 1)] * 10)


async def test_all_chats_together_take_30_in_any_second(limiters: list[FloodLimiter], clock: Clock) -> None:
    sent = await send(limiters, clock, [(chat_id, 1) for chat_id in range(1, 301)])
    assert most_in_a_window(sent, 1) <= 30
    assert clock.now - START <= 20


async def test_albums_to_many_chats(limiters: list[FloodLimiter], clock: Clock) -> None:
    sent = await send(limiters, clock, [(chat_id, 10) for chat_id in range(1, 31)])
    assert most_in_a_window(sent, 1) <= 30


async def test_processes_at_the_same_moment_share_one_bucket(limiters: list[FloodLimiter]) -> None:
    delays = await asyncio.gather(*(delay(limiters[n % 3], 7, 1) for n in range(50)))
    assert delays.count(0) == 10


async def test_those_who_wait_for_the_common_limit_ask_once(
    limiters: list[FloodLimiter], clock: Clock
) -> None:
    """Each gets a time of its own, in the order in which they ask; later ones cannot overtake them."""
    found = [await limiters[n % 3].reserve(n, 1) for n in range(1, 31)]
    waits = [round(delay_s, 2) for delay_s, _ in found]
    assert waits == [0] * 10 + [round(0.05 * n, 2) for n in range(1, 21)]
    assert all(is_booked for _, is_booked in found)
    clock.advance(0.5)
    assert await limiters[0].reserve(31, 1) == (pytest.approx(0.55, abs=0.002), True)


async def test_room_is_booked_only_for_soon(limiters: list[FloodLimiter], clock: Clock) -> None:
    """Otherwise the queue of many albums would shut out those who cannot wait for so long."""
    waits = [(await limiters[0].reserve(chat_id, 10))[0] for chat_id in range(1, 6)]
    assert waits == pytest.approx([0, 0.5, 1, 1.5, AHEAD_S], abs=0.01)
    impatient = await limiters[1].reserve(6, 1, ahead_s=0.1)
    assert impatient == (pytest.approx(AHEAD_S + 0.05 - 0.1, abs=0.01), False)
    later_s, is_booked = await limiters[1].reserve(6, 10)
    assert (later_s, is_booked) == (pytest.approx(0.5, abs=0.01), False)
    clock.advance(later_s)
    assert (await limiters[1].reserve(6, 10))[1]


async def test_room_in_a_chat_is_not_booked_before_it_is_there(limiters: list[FloodLimiter]) -> None:
    """What is booked over all chats for later would be missing now."""
    assert await limiters[0].reserve(GROUP, 10) == (0, True)
    assert await limiters[1].reserve(GROUP, 1) == (pytest.approx(6, abs=0.01), False)
    assert await limiters[2].reserve(7, 1) == (pytest.approx(0.05, abs=0.002), True)


async def test_a_booked_message_must_not_be_sent_in_a_pause(limiters: list[FloodLimiter]) -> None:
    assert not await limiters[0].is_paused()
    await limiters[1].pause(5)
    assert await limiters[0].is_paused()


async def test_an_album_costs_its_items(limiters: list[FloodLimiter]) -> None:
    assert await delay(limiters[0], 7, 8) == 0
    assert await delay(limiters[1], 7, 2) == 0
    assert await delay(limiters[2], 7, 10) == pytest.approx(10, abs=0.01)


async def test_a_message_that_must_wait_costs_nothing(limiters: list[FloodLimiter], clock: Clock) -> None:
    """Neither in the bucket of its chat nor in the common one."""
    assert await delay(limiters[0], 7, 10) == 0
    for _ in range(100):
        assert await delay(limiters[0], 7, 1) > 0
    clock.advance(1)
    assert await delay(limiters[0], 7, 1) == 0
    assert await delay(limiters[0], 8, 9) == 0


async def test_the_delay_is_exactly_long_enough(limiters: list[FloodLimiter], clock: Clock) -> None:
    await delay(limiters[0], GROUP, 10)
    for messages in (1, 3, 7, 10):
        delay_s = await delay(limiters[0], GROUP, messages)
        clock.advance(delay_s - 0.1)
        assert 0 < await delay(limiters[0], GROUP, messages) <= 0.2
        clock.advance(0.1)
        while rest_s := await delay(limiters[0], GROUP, messages):  # what a float leaves over
            assert rest_s <= 0.002
            clock.advance(rest_s)


async def test_more_messages_than_fit_need_a_full_bucket(limiters: list[FloodLimiter]) -> None:
    assert await delay(limiters[0], 7, 1000) == 0
    assert await delay(limiters[0], 7, 1) > 0


async def test_one_chat_does_not_delay_another(limiters: list[FloodLimiter], clock: Clock) -> None:
    await delay(limiters[0], GROUP, 10)
    clock.advance(1)
    assert await delay(limiters[0], GROUP, 10) > 0
    assert await delay(limiters[0], GROUP - 1, 1) == 0
    assert await delay(limiters[0], "@channel", 1) == 0
    assert await delay(limiters[0], None, 1) == 0


@pytest.mark.parametrize("chat_id", [7, GROUP, "@channel", None])
async def test_a_pause_stops_everything_everywhere(
    limiters: list[FloodLimiter], clock: Clock, chat_id: int | str | None
) -> None:
    await limiters[0].pause(17)
    assert await delay(limiters[1], chat_id, 1) == 17
    clock.advance(16)
    assert await delay(limiters[2], chat_id, 1) == 1
    clock.advance(1)
    assert await delay(limiters[2], chat_id, 1) == 0


async def test_a_shorter_pause_does_not_end_a_longer_one(limiters: list[FloodLimiter], clock: Clock) -> None:
    await limiters[0].pause(60)
    await limiters[1].pause(1)
    assert await delay(limiters[2], 7, 1) == 60
    clock.advance(30)
    await limiters[1].pause(40)
    assert await delay(limiters[2], 7, 1) == 40


async def test_a_pause_does_not_outlive_itself_in_redis(limiters: list[FloodLimiter], redis: Redis) -> None:
    await limiters[0].pause(17)
    await delay(limiters[0], 7, 1)
    keys = [key async for key in redis.scan_iter("stemdrop:*")]
    assert len(keys) == 1
    for key in keys:
        assert await redis.pttl(key) > 0, key


async def test_a_clock_that_was_set_back_gives_no_tokens(limiters: list[FloodLimiter], clock: Clock) -> None:
    await delay(limiters[0], 7, 10)
    clock.advance(-3600)
    assert 0 < await delay(limiters[1], 7, 1) <= 1


async def test_limits_without_redis_raise() -> None:
    async with connect("redis://127.0.0.2:1/0") as redis:
        with pytest.raises(StoreUnavailable):
            await FloodLimiter(redis).reserve(7, 1)
        with pytest.raises(StoreUnavailable):
            await FloodLimiter(redis).pause(1)


async def test_a_clock_that_was_set_back_does_not_stop_sending(
    limiters: list[FloodLimiter], clock: Clock
) -> None:
    limiter = limiters[0]
    for _ in range(10):
        assert await delay(limiter, 7, 1) == 0
    assert 0 < await delay(limiter, 7, 1) <= 1
    clock.advance(-3600)
    assert 0 < await delay(limiter, 7, 1) <= 1
    clock.advance(1)
    assert await delay(limiter, 7, 1) == 0


async def test_a_clock_that_was_set_back_does_not_prolong_a_pause(
    limiters: list[FloodLimiter], clock: Clock
) -> None:
    await limiters[0].pause(20)
    clock.advance(-3600)
    assert await delay(limiters[1], 7, 1) == 20
    clock.advance(20)
    assert await delay(limiters[1], 7, 1) == 0


async def test_the_clocks_of_two_machines_do_not_matter(redis: Redis) -> None:
    """The clock is that of Redis."""
    limiters = [FloodLimiter(redis), FloodLimiter(redis)]
    assert await delay(limiters[0], GROUP, 10) == 0
    assert 0 < await delay(limiters[1], GROUP, 10) <= 60
    await limiters[0].pause(300)
    assert 60 < await delay(limiters[1], 8, 1) <= 300
