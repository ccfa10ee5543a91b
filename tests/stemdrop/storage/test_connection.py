"""The Redis client of the stores: a Redis that does not answer, or that has forgotten a script."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis
from waits import WAIT_S

from sandbox.environment.redis_server import RedisServer
from stemdrop.errors import StoreRefused, StoreUnavailable
from stemdrop.storage import connection
from stemdrop.storage.connection import connect, run_script

ECHO = "return {KEYS[1], ARGV[1], ARGV[2]}"


async def test_a_frozen_redis_ends_commands_and_scripts_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer(tmp_path / "redis") as server:
        async with connect(server.url) as redis, asyncio.timeout(WAIT_S):
            pid = server.pid
            assert await redis.set("a", "1")
            assert pid
            os.kill(pid, signal.SIGSTOP)
            try:
                monkeypatch.setattr(connection, "REDIS_COMMAND_TIMEOUT_S", 0.1)
                with pytest.raises(StoreUnavailable):
                    await redis.get("a")
                # all of them at the same time, and not one trip after the other, which would take 200 s
                with monkeypatch.context() as slower:
                    slower.setattr(connection, "REDIS_COMMAND_TIMEOUT_S", 1)
                    scripts = [run_script(redis, ECHO, ["a"], [1, 2]) for _ in range(3200)]
                    async with asyncio.timeout(100):
                        ends = await asyncio.gather(*scripts, return_exceptions=True)
                assert {type(end) for end in ends} == {StoreUnavailable}
                async with redis.pipeline() as pipeline:
                    pipeline.get("a")
                    with pytest.raises(StoreUnavailable):
                        await pipeline.execute()
            finally:
                os.kill(pid, signal.SIGCONT)
            monkeypatch.undo()
            # no answer that came too late is taken for that of another command
            assert await redis.get("a") == "1"
            assert await run_script(redis, ECHO, ["a"], [1, 2]) == ["a", "1", "2"]


async def test_a_new_connection_asks_redis_for_nothing_that_is_not_used(redis: Redis, redis_url: str) -> None:
    await redis.ping()
    await redis.config_resetstat()
    async with connect(redis_url) as opened:
        await opened.ping()
    asked = {name.partition("|")[0] for name in await redis.info("commandstats")}
    assert asked <= {"cmdstat_hello", "cmdstat_config", "cmdstat_ping"}
    assert await redis.info("errorstats") == {}


async def test_a_script_that_redis_has_forgotten_is_sent_again(redis_url: str) -> None:
    async with connect(redis_url) as redis:
        for _ in range(2):
            assert await run_script(redis, ECHO, ["é"], ["1", b"\xc3\xbc"]) == ["é", "1", "ü"]
            await redis.script_flush()


async def test_each_of_many_scripts_at_once_gets_its_own_answer(redis_url: str) -> None:
    async with connect(redis_url) as redis:
        for _ in range(2):
            echoes = [run_script(redis, ECHO, ["a"], [number, 0]) for number in range(100)]
            first, last = (run_script(redis, "return redis.call('GET')", [], []) for _ in range(2))
            # the first two are sent alone, and those that wait for them together
            ends = await asyncio.gather(first, *echoes, last, return_exceptions=True)
            assert [type(end) for end in (ends[0], ends[-1])] == [StoreRefused] * 2
            assert ends[1:-1] == [["a", str(number), "0"] for number in range(100)]
            await redis.script_flush()


async def test_a_script_whose_caller_is_cancelled_holds_up_no_other(redis_url: str) -> None:
    async with connect(redis_url) as redis:
        tasks = [asyncio.create_task(run_script(redis, ECHO, ["a"], [number, 0])) for number in range(5)]
        await asyncio.sleep(0)
        for task in tasks[:3]:  # two that were sent, and one that waits
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(end) for end in ends[:3]] == [asyncio.CancelledError] * 3
        assert ends[3:] == [["a", "3", "0"], ["a", "4", "0"]]
        assert await run_script(redis, ECHO, ["a"], [5, 0]) == ["a", "5", "0"]


async def test_no_script_is_being_sent_after_its_client_was_closed(redis_url: str) -> None:
    """It would open a new connection, which would stay open."""
    async with connect(redis_url) as redis:
        callers = [asyncio.create_task(run_script(redis, ECHO, ["a"], [number, 0])) for number in range(5)]
        await asyncio.sleep(0)
        callers[0].cancel()
        while not senders():  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
    assert senders() == []


def senders() -> list[str]:
    """Return the tasks that send the scripts of several callers."""
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "scripts"]


async def test_a_client_that_is_cancelled_twice_closes_its_connections(redis: Redis, redis_url: str) -> None:
    async def use() -> None:
        async with connect(redis_url) as opened:
            await opened.ping()
            is_open.set()
            await asyncio.Event().wait()

    before, is_open = len(await redis.client_list()), asyncio.Event()
    using = asyncio.create_task(use())
    await is_open.wait()
    for _ in range(2):
        using.cancel()
        await asyncio.sleep(0)
    await asyncio.wait({using})
    assert using.cancelled()
    async with asyncio.timeout(WAIT_S):
        while len(await redis.client_list()) > before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_half_a_surrogate_pair_is_stored_as_a_question_mark(redis_url: str) -> None:
    """JSON can hold it, but it has no UTF-8."""
    async with connect(redis_url) as redis:
        await redis.set("ü\ud83d", "ü\ud83d")
        async with redis.pipeline() as pipeline:
            pipeline.get("ü\ud83d")
            pipeline.set("ü?", b"\xc3\xbc")
            assert await pipeline.execute() == ["ü?", True]
        assert await run_script(redis, ECHO, ["\ude00"], [1, "\ud83d\ude00"]) == ["?", "1", "??"]


async def test_a_script_that_cannot_be_sent_ends_no_other(redis_url: str) -> None:
    async with connect(redis_url) as redis:
        arguments = [*range(20), None, *range(20)]
        scripts = [run_script(redis, ECHO, ["a"], [argument, 0]) for argument in arguments]
        ends = await asyncio.gather(*scripts, return_exceptions=True)
        failed = [end for end in ends if isinstance(end, BaseException)]
        assert [type(end) for end in failed] == [TypeError]
        assert [end for end in ends if end not in failed] == [["a", str(it), "0"] for it in range(20)] * 2
