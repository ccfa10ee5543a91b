"""Deliveries: how many jobs of two stems a minute by one, two and four workers, with Telegram's limits out of
the way: once as quickly as the machine can, and once with stems that take their time to come."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

from builders import make_result
from deployment import Deployment
from measure import Row, cpu_s, memory_mb
from redis.asyncio import Redis
from seeds import each, separating, task_of

from sandbox.environment.process import Process
from stemdrop.domain.jobs import Job
from stemdrop.domain.results import Result, Stem
from stemdrop.storage.keys import OPEN
from stemdrop.tasks.engine import Engine, Task

JOBS, WORKERS = 96, (1, 2, 4)
SLOW_S = 3.0


async def run(deployment: Deployment) -> AsyncIterator[Row]:
    """One worker is the baseline; this process plays Telegram and the server of the stems."""
    workers: list[Process] = []
    quick_one = slow_one = 0.0
    async with Redis.from_url(deployment.redis_url) as redis, _limits_aside(deployment, redis):
        for count in WORKERS:
            while len(workers) < count:
                name = f"worker-{len(workers) + 1}"
                workers.append(await deployment.environment.start("worker", name, deployment.settings))
                await _delivered(deployment, redis, 8)  # warm
            pids = [worker.pid for worker in workers]
            cpu = sum(map(cpu_s, pids))
            quick = await _delivered(deployment, redis, JOBS)
            cpu = sum(map(cpu_s, pids)) - cpu
            at_once, deployment.provider.hold_stems = deployment.provider.hold_stems, _Late(SLOW_S)
            slow = await _delivered(deployment, redis, JOBS)
            deployment.provider.hold_stems = at_once
            to = "one worker" if quick_one else ""
            yield Row(
                f"deliveries, {count} worker{'s' * (count > 1)}",
                f"{quick:.0f} jobs/min",
                to,
                quick / quick_one if quick_one else None,
            )
            yield Row(
                f"… stems that take {SLOW_S:.0f} s to come",
                f"{slow:.0f} jobs/min",
                to,
                slow / slow_one if slow_one else None,
            )
            if not quick_one:
                each_ms = cpu / JOBS * 1000
                yield Row(
                    "… processor time each",
                    f"worker {each_ms:.0f} ms = {60_000 / each_ms:.0f} jobs/min a core",
                )
                rss, _, most = memory_mb(pids[0])
                yield Row("… memory", f"{rss:.0f} MB, at most {most:.0f} MB")
            quick_one, slow_one = quick_one or quick, slow_one or slow


class _Late(asyncio.Event):
    """Set the event after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def wait(self) -> Literal[True]:
        await asyncio.sleep(self._seconds)
        return True


async def _delivered(deployment: Deployment, redis: Redis, count: int) -> float:
    """How many a minute of so many, all due at once."""
    jobs = await _due(deployment, count)
    started = time.perf_counter()
    async with Engine(deployment.redis_url) as engine:
        await each(jobs, lambda job: engine.add(Task.DELIVER, job.id, job.id))
    while await redis.zcard(OPEN):  # noqa: ASYNC110 - Redis sets no event
        await asyncio.sleep(0.01)
    seconds = time.perf_counter() - started
    telegram = deployment.telegram
    arrived = [sum(shown.kind == "audio" for shown in telegram.bot_messages(job.chat_id)) for job in jobs]
    if arrived != [2] * count:
        raise RuntimeError(f"some stems are missing, or came twice: {arrived}")
    return count / seconds * 60


async def _due(deployment: Deployment, count: int) -> list[Job]:
    """Their results are there, and a message of the bot's, as in every job."""
    telegram, attributes = deployment.telegram, []
    for number in range(count):
        person = deployment.person(f"Person {number}")
        song = person.says("a song")
        shown = telegram.post(telegram.chat(person.id), telegram.bot, {"text": "⏳"}, reply_to=song)
        ids = {"chat_id": person.id, "user_id": person.id, "account": person.id}
        attributes.append({**ids, "source_message_id": song.message_id, "message_id": shown.message_id})
    telegram.updates.drop()
    stems = [Stem(stem.key, deployment.provider.stem_url(stem.key)) for stem in make_result().stems]
    async with deployment.store() as store:
        jobs = await separating(store, attributes)
        result = Result(200, tuple(stems))
        await each(jobs, lambda job: store.receive(job.id, job.chat_id, task_of(job), result))
    return jobs


@asynccontextmanager
async def _limits_aside(deployment: Deployment, redis: Redis) -> AsyncIterator[None]:
    """The bucket of all chats is always full, and Telegram takes everything."""

    async def fill() -> None:
        while True:
            await redis.delete("stemdrop:flood:all")
            await asyncio.sleep(0.005)

    deployment.telegram.flood.is_enforced = False
    filling = asyncio.create_task(fill())
    try:
        yield
    finally:
        filling.cancel()
        with suppress(asyncio.CancelledError):
            await filling
        deployment.telegram.flood.is_enforced = True
