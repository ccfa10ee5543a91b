"""What a worker does beside the library's, where its parts meet at the same moment."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from docket import Execution
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError
from tcp_proxy import TcpProxy
from waits import WAIT_S

from sandbox.environment.ports import free_port
from sandbox.environment.redis_server import RedisServer
from stemdrop.domain.queues import Queue, Task
from stemdrop.storage.task_scripts import PutOff
from stemdrop.tasks import docket_guards
from stemdrop.tasks.docket_guards import TaskQueue, TaskWorker, connection
from stemdrop.tasks.engine import Engine


async def run(*_: object) -> None:
    """Do nothing."""


async def test_a_task_that_is_put_off_during_a_look_is_not_missed(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docket_guards, "_LOOK_EVERY_S", 3600.0)
    looked_again = asyncio.Event()

    class Looking(TaskWorker):
        has_looked = False

        async def _move_due(self) -> float:
            wait_s = await super()._move_due()
            if self.has_looked:
                looked_again.set()
                return wait_s
            self.has_looked = True
            await self._put_off(execution, PutOff(0.1, "why"))
            return wait_s

    async with connection(redis_url) as opened:
        queue = TaskQueue(Queue.DELIVERIES, opened)
        now, key = datetime.now(UTC), "deliver:job"
        execution = Execution(queue, run, ("job",), {}, key, now, attempt=1, message_id=b"0-1")
        worker = Looking(queue, run, 1)
        looking = asyncio.create_task(worker.move_due_tasks())
        async with asyncio.timeout(WAIT_S):
            await looked_again.wait()
        looking.cancel()
        await asyncio.wait({looking})


async def test_a_new_connection_asks_redis_for_nothing_that_is_not_used(redis: Redis, redis_url: str) -> None:
    await redis.ping()
    await redis.config_resetstat()
    async with connection(redis_url) as opened, TaskQueue(Queue.DELIVERIES, opened).redis() as client:
        await client.get("a")
    asked = {name.partition("|")[0] for name in await redis.info("commandstats")}
    assert asked <= {"cmdstat_hello", "cmdstat_config", "cmdstat_get"}
    assert await redis.info("errorstats") == {}


async def test_due_tasks_are_looked_for_after_an_answer_of_redis_was_lost(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docket_guards, "LEASE_S", 0.2)
    monkeypatch.setattr(docket_guards, "_LOOK_EVERY_S", 0.1)
    looks = [asyncio.Event(), asyncio.Event()]

    class Looking(TaskWorker):
        async def _move_due(self) -> float:
            looks[looks[0].is_set()].set()
            return await asyncio.Event().wait() or 0.0

    async with connection(redis_url) as opened, asyncio.timeout(WAIT_S):
        looking = asyncio.create_task(Looking(TaskQueue(Queue.DELIVERIES, opened), run, 1).move_due_tasks())
        await looks[1].wait()
        looking.cancel()
        await asyncio.wait({looking})


async def test_a_worker_does_not_take_over_what_it_runs_itself(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an outage of Redis, if it looks for tasks of dead workers before it renews its leases."""
    monkeypatch.setattr(docket_guards, "LEASE_S", 1)
    runs, begun, go, stop = [], asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def deliver(argument: str) -> None:
        runs.append(argument)
        begun.set()
        await go.wait()

    stream = f"{Queue.DELIVERIES}:stream"
    async with Engine(redis_url) as engine, asyncio.timeout(WAIT_S):
        await engine.add(Task.DELIVER, "job", "job")
        working = asyncio.create_task(engine.work(Queue.DELIVERIES, {Task.DELIVER: deliver}, stop))
        await begun.wait()
        group = (await redis.xinfo_groups(stream))[0]["name"]
        while (held := await pending(redis, stream, group))["times_delivered"] == 1:
            ids = [held["message_id"]]
            await redis.xclaim(stream, group, held["consumer"], 0, ids, idle=60_000, justid=True)
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)  # it would have begun by then
        assert runs == ["job"]
        stop.set()
        go.set()
        await working
    assert await redis.xlen(stream) == 0


async def test_leases_are_renewed_after_an_answer_of_redis_was_lost(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a firewall forgets a connection: nothing comes over it any more, not even its end."""
    monkeypatch.setattr(docket_guards, "LEASE_S", 1)
    begun, lost, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
    is_losing, port = False, urlsplit(redis_url).port or 0

    def lose(answer: bytes) -> bytes:
        # the messages that are held, not the cursor of a look for those of dead workers
        if is_losing and answer.endswith(b"-0\r\n") and b"\r\n0-0\r\n" not in answer:
            lost.set()
            return b""
        return answer

    async def deliver(_: str) -> None:
        begun.set()
        await stop.wait()

    stream = f"{Queue.DELIVERIES}:stream"
    async with (
        TcpProxy(lambda: [port], change=lose).run() as proxy,
        asyncio.timeout(WAIT_S),
        Engine(redis_url.replace(f":{port}/", f":{proxy.port}/")) as engine,
    ):
        await engine.add(Task.DELIVER, "job", "job")
        working = asyncio.create_task(engine.work(Queue.DELIVERIES, {Task.DELIVER: deliver}, stop))
        await begun.wait()
        is_losing = True
        await lost.wait()
        is_losing = False
        group = (await redis.xinfo_groups(stream))[0]["name"]
        after = await pending(redis, stream, group)
        is_renewed = False
        while not is_renewed:
            before = after
            await asyncio.sleep(0.02)
            after = await pending(redis, stream, group)
            is_renewed = (
                after["time_since_delivered"] < before["time_since_delivered"]
                and after["times_delivered"] == before["times_delivered"]  # else it was taken over
            )
        stop.set()
        await working


async def test_a_queue_does_not_wait_for_a_wrong_password(redis_url: str) -> None:
    """A changed password needs an operator, and a process that ends is noticed."""
    wrong = f"redis://:wrong@{urlsplit(redis_url).netloc.rpartition('@')[2]}/0"
    async with asyncio.timeout(WAIT_S), connection(wrong) as opened, opened.client() as client:
        with pytest.raises(AuthenticationError):
            await client.get("key")


async def test_a_queue_waits_for_a_replica_whose_master_is_away(tmp_path: Path) -> None:
    async with RedisServer(tmp_path / "redis") as server, Redis.from_url(server.url) as redis:
        await redis.set("key", "value")
        await redis.config_set("replica-serve-stale-data", "no")
        await redis.replicaof("127.0.0.1", str(free_port()))
        async with asyncio.timeout(WAIT_S), connection(server.url) as opened, opened.client() as client:
            reading = asyncio.create_task(client.get("key"))
            while not reading.done() and "errorstat_MASTERDOWN" not in await redis.info("errorstats"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await redis.replicaof("NO", "ONE")
            assert await reading == b"value"


async def pending(redis: Redis, stream: str, group: str) -> dict[str, Any]:
    """Return what Redis knows of the only task that runs."""
    found: list[dict[str, Any]] = await redis.xpending_range(stream, group, "-", "+", 1)
    return found[0]
