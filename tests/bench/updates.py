"""Updates: how many are handled a second by one bot and by two. Taps on old buttons: they ask Redis, and are
answered with a call that no limit of Telegram's holds back."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence

from deployment import Deployment
from measure import Row, Used, cpu_s
from redis.asyncio import Redis
from seeds import each

from stemdrop.chat.callback_data import Action, Tap
from stemdrop.domain.jobs import Job
from stemdrop.tasks.engine import Engine, Queue, Task

UPDATES, PEOPLE = 600, 50


async def run(deployment: Deployment) -> AsyncIterator[Row]:
    """One bot is the baseline; the Telegram that both call is this process."""
    one = 0.0
    async with Redis.from_url(deployment.redis_url) as redis, Engine(deployment.redis_url) as engine:
        pids: list[int] = []
        for name in ("bot-1", "bot-2"):
            pids.append((await deployment.environment.start("bot", name, deployment.settings)).pid)
            await _handled(deployment, redis, engine, pids, PEOPLE)  # warm
            cpu, used = sum(map(cpu_s, pids)), await Used.by(redis)
            per_s = await _handled(deployment, redis, engine, pids, UPDATES)
            cpu, used = sum(map(cpu_s, pids)) - cpu, (await Used.by(redis) - used).per(UPDATES)
            yield Row(
                f"updates (taps), {len(pids)} bot{'s' * (len(pids) > 1)}",
                f"{per_s:.0f}/s",
                "one bot" if one else "",
                per_s / one if one else None,
            )
            one = one or per_s
            if len(pids) == 1:
                each_ms = cpu / UPDATES * 1000
                yield Row("… processor time each", f"bot {each_ms:.1f} ms = {1000 / each_ms:.0f}/s a core")
                yield Row("… of Redis", f"{used.cpu_s * 1e6:.0f} µs, {used.commands:.0f} commands")


async def _handled(
    deployment: Deployment, redis: Redis, engine: Engine, pids: Sequence[int], count: int
) -> float:
    """How many a second of so many, which lie in Redis when the bots are let go."""
    telegram = deployment.telegram
    users = [deployment.person(f"Tapper {number}") for number in range(PEOPLE)]
    old = Tap(Action.RETRY, Job.new_id()).to_data()
    keyboard = {"inline_keyboard": [[{"text": "Try again", "callback_data": old}]]}
    shown = [
        telegram.post(telegram.chat(person.id), telegram.bot, {"text": "It failed."}, reply_markup=keyboard)
        for person in users
    ]
    await telegram.updates.set_webhook(None)
    queries = [
        telegram.tap(shown[n % PEOPLE].chat.id, shown[n % PEOPLE].message_id, old) for n in range(count)
    ]
    updates = telegram.updates.pending
    telegram.updates.drop()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    await each(updates, lambda update: engine.add(Task.UPDATE, str(update["update_id"]), json.dumps(update)))
    started = time.perf_counter()
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    while await redis.xlen(f"{Queue.UPDATES}:stream"):  # noqa: ASYNC110 - Redis sets no event
        await asyncio.sleep(0.005)
    seconds = time.perf_counter() - started
    if not all(query.is_answered for query in queries):
        raise RuntimeError("some taps were not answered")
    return count / seconds
