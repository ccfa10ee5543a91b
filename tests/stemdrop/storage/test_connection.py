"""The Redis client of the stores: a Redis that does not answer, or that has forgotten a script."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from sandbox.environment.redis_server import RedisServer
from stemdrop.errors import StoreUnavailable
from stemdrop.storage import connection
from stemdrop.storage.connection import connect, run_script

ECHO = "return {KEYS[1], ARGV[1], ARGV[2]}"


async def test_a_frozen_redis_ends_commands_and_scripts_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer(tmp_path / "redis") as server:
        async with connect(server.url) as redis, asyncio.timeout(60):
            pid = server.pid
            assert await redis.set("a", "1")
            assert pid
            os.kill(pid, signal.SIGSTOP)
            try:
                monkeypatch.setattr(connection, "COMMAND_TIMEOUT_S", 0.1)
                with pytest.raises(StoreUnavailable):
                    await redis.get("a")
                with pytest.raises(StoreUnavailable):
                    await run_script(redis, ECHO, ["a"], [1, 2])
                async with redis.pipeline() as pipeline:
                    pipeline.get("a")
                    with pytest.raises(StoreUnavailable):
                        await pipeline.execute()
            finally:
                os.kill(pid, signal.SIGCONT)
            monkeypatch.undo()
            # no answer that came too late is taken for that of another command
            assert await redis.get("a") == "1"


async def test_a_script_that_redis_has_forgotten_is_sent_again(redis_url: str) -> None:
    async with connect(redis_url) as redis:
        for _ in range(2):
            assert await run_script(redis, ECHO, ["é"], ["1", b"\xc3\xbc"]) == ["é", "1", "ü"]
            await redis.script_flush()
