"""Callbacks: how many a webhook answers a second, beside servers that do less, and while stems are sent."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from statistics import median

import deliveries
from callback_bodies import TWO_STEMS, callback_body
from callback_requests import callbacks_for
from jobs import store_jobs
from load import Answered, fire, post
from measure import cpu_s, median_ratio
from rows import Row, at_least, at_most
from stage import Stage, open_stage

ROUNDS, CALLBACKS, WARM, CONNECTIONS = 3, 1000, 200, 16
# Callbacks a second, for how long while nothing else is done, and for how long at most while stems are sent.
STEADY_PER_S, IDLE_S, LONGEST_S, DELIVERIES = 60, 10, 60, 50
_FORGED = 403
_URLS = {name: f"https://files.example.com/s/{name}.mp3" for name in TWO_STEMS}
_LEAST = {"first": 0.6, "repeated": 0.7, "forged": 0.9}


@dataclass(frozen=True, slots=True)
class _Figure:
    """One round: the answers, and the processor seconds that the server used for each."""

    answered: Answered
    cpu_s: float


@dataclass(frozen=True, slots=True)
class _Server:
    pid: int
    port: int

    async def answer(self, requests: Sequence[bytes], status: int = 200) -> _Figure:
        used = cpu_s(self.pid)
        answered = await asyncio.to_thread(fire, requests, [self.port], CONNECTIONS, status=status)
        return _Figure(answered, (cpu_s(self.pid) - used) / len(requests))


async def run(folder: Path) -> AsyncIterator[Row]:
    """One after the other in each round, and then a steady stream while a worker is idle or sends stems."""
    async with (
        open_stage(folder) as stage,
        _served("baseline_floor.py", stage.redis_url) as floor,
        _served("baseline_handler.py") as plain,
    ):
        webhook = _Server((await stage.start("webhook")).pid, stage.webhook_port)
        await _round(stage, webhook, floor, plain, WARM)
        rounds = [await _round(stage, webhook, floor, plain, CALLBACKS) for _ in range(ROUNDS)]
    for row in _table({name: [figures[name] for figures in rounds] for name in rounds[0]}):
        yield row
    async for row in _while_stems_are_sent(folder / "load"):
        yield row


async def _round(
    stage: Stage, webhook: _Server, floor: _Server, plain: _Server, count: int
) -> dict[str, _Figure]:
    await stage.redis.flushall()
    jobs = await store_jobs(stage.redis_url, count)
    quick = [post("/callback/token", callback_body("0" * 32, _URLS))] * count
    first = callbacks_for(stage, jobs, _URLS)
    forged = callbacks_for(stage, jobs, _URLS, is_forged=True)
    return {
        "floor": await floor.answer(quick),
        "first": await webhook.answer(first),
        "repeated": await webhook.answer(first),
        "forged": await webhook.answer(forged, _FORGED),
        "plain": await plain.answer(quick),
    }


def _table(rounds: Mapping[str, Sequence[_Figure]]) -> Iterator[Row]:
    per_s = {name: [figure.answered.per_s for figure in figures] for name, figures in rounds.items()}
    floor, plain = median(per_s["floor"]), median(per_s["plain"])
    for name, least in _LEAST.items():
        ratio = median_ratio(per_s[name], per_s["floor"])
        p50, p99 = (
            median(figure.answered.percentile_ms(part) for figure in rounds[name]) for part in (0.5, 0.99)
        )
        yield Row(
            f"callbacks, {CONNECTIONS} connections: {name}",
            f"{median(per_s[name]):.0f}/s; p50 {p50:.1f} ms, p99 {p99:.1f} ms",
            f"floor {floor:.0f}/s, plain handler {plain:.0f}/s",
            (at_least(ratio, least, " × floor"),),
        )
    each = {name: f"{median(it.cpu_s for it in figures) * 1000:.2f} ms" for name, figures in rounds.items()}
    yield Row(
        "… processor time of the server for each",
        ", ".join(f"{name} {each[name]}" for name in _LEAST),
        f"floor {each['floor']}, plain handler {each['plain']}",
    )


async def _while_stems_are_sent(folder: Path) -> AsyncIterator[Row]:
    """What these callbacks are to deliver waits behind what is being delivered."""
    idle, busy = list[float](), list[float]()
    async with deliveries.open_delivery_stage(folder) as stage:
        await stage.start("webhook")
        for _ in range(ROUNDS):
            requests = await _requests(stage, STEADY_PER_S * IDLE_S)
            idle.append(await _p99_ms(stage, requests))
            await stage.redis.flushall()
            requests = await _requests(stage, STEADY_PER_S * LONGEST_S)
            worker = await stage.start("worker", is_limited=False)
            begun = await deliveries.begin(stage, DELIVERIES)
            busy.append(await _p99_ms(stage, takewhile(lambda _: not begun.is_done(), requests)))  # noqa: B023
            worker.kill()
            await stage.redis.flushall()
    yield Row(
        f"callbacks, {STEADY_PER_S}/s, while a worker makes {DELIVERIES} deliveries",
        f"p99 {median(busy):.1f} ms",
        f"p99 {median(idle):.1f} ms while it does nothing",
        (at_most(median_ratio(busy, idle), 3, " × idle"),),
    )


async def _requests(stage: Stage, count: int) -> list[bytes]:
    jobs = await store_jobs(stage.redis_url, count)
    return callbacks_for(stage, jobs, deliveries.urls(stage, TWO_STEMS))


async def _p99_ms(stage: Stage, requests: Iterable[bytes]) -> float:
    ports, per_s = [stage.webhook_port], STEADY_PER_S
    return (await asyncio.to_thread(fire, requests, ports, CONNECTIONS, per_s=per_s)).percentile_ms(0.99)


@asynccontextmanager
async def _served(program: str, *arguments: str) -> AsyncIterator[_Server]:
    """Run one of the programs beside this file."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        port, number = int(listening.getsockname()[1]), listening.fileno()
        command = [sys.executable, str(Path(__file__).with_name(program)), str(number), *arguments]
        process = await asyncio.create_subprocess_exec(
            *command, pass_fds=[number], stdout=asyncio.subprocess.DEVNULL
        )
    try:
        yield _Server(process.pid, port)
    finally:
        process.terminate()
        await process.wait()
