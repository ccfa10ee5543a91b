"""What more processes of a kind add: webhooks, bots and workers, with Telegram's limits out of the way."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import deliveries
from callback_bodies import TWO_STEMS
from callback_requests import callbacks_for
from jobs import each, store_jobs
from load import fire
from measure import cpu_s
from rows import Row, compared
from stage import Stage, open_stage
from tones import mp3

from sandbox.environment.ports import free_port
from sandbox.environment.process import Process
from stemdrop.chat.callback_data import Action, Tap
from stemdrop.domain.jobs import Job
from stemdrop.tasks.engine import Engine, Task

CALLBACKS, CONNECTIONS = 1500, 32
UPDATES, PEOPLE = 600, 50
JOBS, WARM, WORKERS = 48, 8, (1, 2, 4)
SLOW_S = 3.0
_URLS = {name: f"https://files.example.com/{name}.mp3" for name in TWO_STEMS}


async def run(folder: Path) -> AsyncIterator[Row]:
    """One of each is the baseline."""
    async with open_stage(folder / "webhooks") as stage:
        async for row in _webhooks(stage):
            yield row
    async with open_stage(folder / "bots", TELEGRAM_UPDATES="webhook") as stage:
        async for row in _bots(stage):
            yield row
    async with open_stage(folder / "workers", {"short": mp3(folder / "short.mp3")}) as stage:
        async for row in _workers(stage):
            yield row


async def _webhooks(stage: Stage) -> AsyncIterator[Row]:
    ports = [stage.webhook_port, free_port()]

    async def per_s(count: int, *ports: int) -> float:
        await stage.redis.flushall()
        requests = callbacks_for(stage, await store_jobs(stage.redis_url, count), _URLS)
        return (await asyncio.to_thread(fire, requests, ports, CONNECTIONS)).per_s

    for port in ports:
        await stage.start("webhook", LISTEN_PORT=str(port))
        await per_s(CALLBACKS // 5, port)  # warm
    one = await per_s(CALLBACKS, ports[0])
    yield Row("callbacks, 1 webhook", f"{one:.0f}/s")
    await stage.redis.config_set("appendfsync", "always")
    safe = await per_s(CALLBACKS, ports[0])
    await stage.redis.config_set("appendfsync", "everysec")
    yield compared("… with `appendfsync always`", f"{safe:.0f}/s", safe / one, "`everysec`")
    both = await per_s(CALLBACKS, *ports)
    yield compared("callbacks, 2 webhooks", f"{both:.0f}/s", both / one, "one webhook")


async def _bots(stage: Stage) -> AsyncIterator[Row]:
    """Taps on old buttons: each is looked up in Redis, and answered by a call that no limit holds back."""
    pids, one = list[int](), 0.0
    async with Engine(stage.redis_url) as engine:
        for _ in range(2):
            pids.append((await stage.start("bot")).pid)
            await _handle(stage, engine, pids, PEOPLE)  # warm
            used = cpu_s(*pids)
            per_s = await _handle(stage, engine, pids, UPDATES)
            each_ms = (cpu_s(*pids) - used) / UPDATES * 1000
            figure = f"{per_s:.0f}/s; {each_ms:.1f} ms processor time each"
            yield (
                compared("updates (taps), 2 bots", figure, per_s / one, "one bot")
                if one
                else Row("updates (taps), 1 bot", figure)
            )
            one = one or per_s


async def _handle(stage: Stage, engine: Engine, pids: Sequence[int], count: int) -> float:
    """How many a second of so many, which lie in Redis when the bots are let go."""
    before = len(stage.stand_in.calls)

    def answered() -> bool | None:
        calls = stage.stand_in.calls[before:]
        return sum(call.method == "answerCallbackQuery" for call in calls) >= count or None

    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    updates = [json.dumps(_tap(before + number, number % PEOPLE + 1)) for number in range(count)]
    await each(updates, lambda update: engine.add(Task.UPDATE, str(json.loads(update)["update_id"]), update))
    began = time.perf_counter()
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    await asyncio.to_thread(stage.stand_in.wait_for, answered)
    return count / (time.perf_counter() - began)


def _tap(number: int, person: int) -> dict[str, object]:
    user = {"id": person, "is_bot": False, "first_name": "Person", "language_code": "en"}
    chat = {"id": person, "type": "private", "first_name": "Person"}
    shown = {"message_id": 7, "date": int(time.time()), "chat": chat, "text": "It failed."}
    query = {"id": str(number), "from": user, "chat_instance": "1", "message": shown}
    return {
        "update_id": number,
        "callback_query": {**query, "data": Tap(Action.RETRY, Job.new_id()).to_data()},
    }


async def _workers(stage: Stage) -> AsyncIterator[Row]:
    """As quickly as the machine can, and with stems that take their time to come."""
    await stage.start("webhook")
    workers, first = list[Process](), dict[float, float]()
    for count in WORKERS:
        while len(workers) < count:
            workers.append(await stage.start("worker", is_limited=False))
        await _deliver(stage, WARM)
        for delay_s in (0.0, SLOW_S):
            stage.stand_in.stem_delay_s = delay_s
            per_min = await _deliver(stage, JOBS)
            stage.stand_in.stem_delay_s = 0.0
            slow = f", stems that take {delay_s:.0f} s to come" if delay_s else ""
            work, figure = f"deliveries, {count} worker{'s' * (count > 1)}{slow}", f"{per_min:.0f} jobs/min"
            one = first.setdefault(delay_s, per_min)
            yield compared(work, figure, per_min / one, "one worker") if count > 1 else Row(work, figure)


async def _deliver(stage: Stage, count: int) -> float:
    """How many a minute of so many, all due at once."""
    began = time.perf_counter()
    begun = await deliveries.begin(stage, count, file="short")
    await deliveries.ended(stage)
    per_min = count / (time.perf_counter() - began) * 60
    if not begun.is_done():
        raise RuntimeError("some stems did not come")
    return per_min
