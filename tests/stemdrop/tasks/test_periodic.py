"""Each piece of periodic work is done by one process at a time, whichever of them lives."""

import asyncio
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from running import running
from waits import WAIT_S

from stemdrop.tasks.periodic import Periodic, Turns

KEY = "stemdrop:a-queue:turn:work"


def turns(redis: Redis, work: Callable[[], Awaitable[None]], every_s: float = 0.1) -> Turns:
    return Turns(redis, KEY, "work", Periodic(every_s, work), lease_s=0.5)


async def test_the_work_of_a_dead_process_is_taken_over(redis: Redis) -> None:
    begun, done = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def work() -> None:
        done.set()

    dying = asyncio.create_task(turns(redis, hang).run(asyncio.Event()))
    await begun.wait()
    async with asyncio.timeout(WAIT_S), running(turns(redis, work).run):
        await asyncio.sleep(0)
        assert not done.is_set()
        dying.cancel()
        await done.wait()


async def test_work_is_due_again_after_its_interval_and_not_when_its_process_ends(redis: Redis) -> None:
    runs = asyncio.Queue[str]()
    stop = asyncio.Event()

    async def work() -> None:
        await runs.put("first")
        stop.set()

    async def other_work() -> None:
        await runs.put("second")

    await turns(redis, work, every_s=600).run(stop)
    assert await redis.pttl(KEY) > 500_000
    await redis.delete(KEY)  # as after the interval
    async with asyncio.timeout(WAIT_S), running(turns(redis, other_work, every_s=600).run):
        assert [await runs.get(), await runs.get()] == ["first", "second"]
