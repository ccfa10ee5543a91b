"""The steps of the engine's tasks: each changes nothing when Redis runs it a second time."""

import time
from typing import Any

import pytest
from redis.asyncio import Redis

from stemdrop.domain.queues import Queue, Task
from stemdrop.storage.connection import run_script
from stemdrop.storage.task_scripts import ADD, END, MOVE_DUE, PUT_OFF, TAKE_TURN, addition, message

QUEUE, NAME, GROUP = Queue.DELIVERIES.value, "deliver:job", "workers"
STREAM, RECORD, PUT_OFF_TASKS = f"{QUEUE}:stream", f"{QUEUE}:runs:{NAME}", f"{QUEUE}:queue"


async def add(redis: Redis) -> int:
    return int(await run_script(redis, ADD, *addition(Task.DELIVER, "job", "job")))


@pytest.fixture
async def taken(redis: Redis) -> str:
    """The message of a task that a worker has taken."""
    assert await add(redis) == 1
    await redis.xgroup_create(STREAM, GROUP, id="0")
    raw: Any = await redis.execute_command(  # type: ignore[no-untyped-call]
        "XREADGROUP", "GROUP", GROUP, "me", "STREAMS", STREAM, ">", NEVER_DECODE=True
    )
    entries = raw.values() if isinstance(raw, dict) else [raw[0][1]]
    first: Any = next(iter(entries))
    return str(first[0][0].decode())


async def end(redis: Redis, taken: str) -> None:
    await run_script(redis, END, [STREAM, RECORD], [GROUP, taken])


async def put_off(redis: Redis, taken: str, due_at: float) -> None:
    args = [GROUP, taken, NAME, due_at, "why", *message(NAME, "deliver", "job", due_at, 2)]
    await run_script(redis, PUT_OFF, [STREAM, RECORD, PUT_OFF_TASKS, f"{QUEUE}:{NAME}"], args)


async def move_due(redis: Redis) -> None:
    await run_script(redis, MOVE_DUE, [PUT_OFF_TASKS, STREAM], [time.time(), f"{QUEUE}:"])


async def test_a_task_is_added_once_until_it_has_ended(redis: Redis, taken: str) -> None:
    assert await add(redis) == 0
    await end(redis, taken)
    assert await redis.keys(f"{QUEUE}:runs:*") == []
    assert await add(redis) == 1


async def test_a_second_end_is_not_taken_for_that_of_the_next_task(redis: Redis, taken: str) -> None:
    await end(redis, taken)
    await add(redis)
    await end(redis, taken)
    assert await add(redis) == 0


async def test_a_task_that_was_put_off_is_neither_ended_nor_put_off_again(redis: Redis, taken: str) -> None:
    due_at = time.time() + 600
    for _ in range(2):
        await put_off(redis, taken, due_at)
        await end(redis, taken)
    await put_off(redis, taken, due_at + 1)
    assert await redis.zscore(PUT_OFF_TASKS, NAME) == pytest.approx(due_at, abs=0.1)
    assert await redis.xlen(STREAM) == 0
    assert await add(redis) == 0


async def test_a_due_task_moves_once(redis: Redis, taken: str) -> None:
    await put_off(redis, taken, time.time() - 1)
    for _ in range(2):
        await move_due(redis)
    assert await redis.xlen(STREAM) == 1
    assert await redis.keys(f"{QUEUE}:queue") == await redis.keys(f"{QUEUE}:{NAME}") == []
    assert await add(redis) == 0


@pytest.mark.parametrize(("record", "added"), [({"state": "completed"}, 1), ({"state": "running"}, 0)])
async def test_records_of_an_earlier_version_are_understood(
    redis: Redis, record: dict[str, str], added: int
) -> None:
    await redis.hset(RECORD, mapping=record)  # type: ignore[arg-type]
    await redis.expire(RECORD, 60)
    assert await add(redis) == added
    assert (await redis.ttl(RECORD) == -1) == bool(added)


async def test_a_turn_that_is_about_to_end_is_not_taken_for_ones_own(redis: Redis) -> None:
    """Within a script its key does not expire, and its time to live may reach 0."""
    wait = "redis.call('SET', KEYS[1], 'other', 'PX', 1) for _ = 1, 2000000 do end "
    assert await run_script(redis, wait + TAKE_TURN, ["turn"], ["me", 1000]) > 0
