"""Songs on their whole way, as in production: one bot, one webhook, one worker, within Telegram's limits.
What a job costs each of them, and what stays of it in Redis."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator

from deployment import Deployment
from ledger import ALL_STEMS, VOCALS, Ledger
from measure import Row, Used, cpu_s, memory_mb
from redis.asyncio import Redis

from sandbox.environment.process import Process
from sandbox.telegram.state import BotCall
from stemdrop.storage.flood_limiter import OVERALL
from stemdrop.storage.keys import CALL, CALL_LIFETIME_S, DAY_S, JOB_LIFETIME_S, KEPT, KEPT_LIFETIME_S, LEDGER
from stemdrop.tasks.engine import Queue

COMMANDS = ("bot", "webhook", "worker")
TWO, TWELVE = 40, 10
IDLE_S = 10.0


async def run(deployment: Deployment) -> AsyncIterator[Row]:
    """First idle, then songs of two stems, then of twelve."""
    processes: dict[str, int] = {}
    async with Redis.from_url(deployment.redis_url) as redis:
        row, process, _ = await _begun(deployment, redis, "up", Used(0, 0))
        yield row
        await process.stop()
        before = Used(0, 0)
        for command in COMMANDS:
            row, process, before = await _begun(deployment, redis, command, before)
            yield row
            processes[command] = process.pid
        row, process, _ = await _begun(deployment, redis, "worker", before)
        yield Row(f"{row.what}, the second", row.figure)
        await process.stop()
        async for row in _played(deployment, redis, processes, before, VOCALS, TWO):
            yield row
        async for row in _played(deployment, redis, processes, before, ALL_STEMS, TWELVE):
            yield row
        for command, pid in processes.items():
            rss, _, most = memory_mb(pid)
            yield Row(f"`{command}` after that", f"{rss:.0f} MB, at most {most:.0f} MB")


async def _begun(
    deployment: Deployment, redis: Redis, command: str, before: Used
) -> tuple[Row, Process, Used]:
    """A process that has nothing to do; what all have used of Redis in a second, of which it is the last."""
    process = await deployment.environment.start(command, f"{command}-{time.time():.0f}", deployment.settings)
    await asyncio.sleep(2)  # what it does first, it does once
    used, cpu = await Used.by(redis), cpu_s(process.pid)
    await asyncio.sleep(IDLE_S)
    used, cpu = (await Used.by(redis) - used).per(IDLE_S), (cpu_s(process.pid) - cpu) / IDLE_S
    rss, pss, _ = memory_mb(process.pid)
    own = max(0.0, used.commands - before.commands)  # the others' differ from one look to the next
    busy = f"{cpu * 100:.1f} % of a core; {own:.0f} Redis commands/s"
    return Row(f"an idle `{command}`", f"{rss:.0f} MB (PSS {pss:.0f}), {busy}"), process, used


async def _played(
    deployment: Deployment, redis: Redis, processes: dict[str, int], idle: Used, mode: int, count: int
) -> AsyncIterator[Row]:
    deployment.begin()
    ledger, kept_before = Ledger(deployment), await _kept_bytes(redis)
    cpu = {command: cpu_s(pid) for command, pid in processes.items()}
    used, started = await Used.by(redis), time.perf_counter()
    calls_before = deployment.telegram.calls.last_number
    await ledger.play_all([mode] * count)
    await ledger.over()
    seconds = time.perf_counter() - started
    used = await Used.by(redis) - used - Used(idle.commands * seconds, idle.cpu_s * seconds)
    cpu = {command: (cpu_s(pid) - cpu[command]) / count for command, pid in processes.items()}
    await ledger.all_well()
    account = ledger.account()
    if account.lost or account.twice or account.explained:
        raise RuntimeError(str(account))
    calls = [call for _, call in deployment.telegram.calls.after(calls_before)]
    messages = sum(map(_messages, calls)) / count
    stems = ledger.plays[0].stems
    name = f"songs of {stems} stems"
    ceiling = OVERALL[1] / messages * 60
    yield Row(
        f"{name}, one process of each",
        f"{count / seconds * 60:.0f} jobs/min",
        "the limiter's ceiling",
        count / seconds * 60 / ceiling,
    )
    yield Row(
        "… messages and edits a job",
        f"{messages:.1f}, so at most {ceiling:.0f} jobs/min at {OVERALL[1]:.0f}/s",
    )
    told = ", ".join(f"{command} {seconds * 1000:.0f} ms" for command, seconds in cpu.items())
    per_job = used.per(count)
    yield Row("… processor time a job", f"{told}, Redis {per_job.cpu_s * 1000:.1f} ms")
    yield Row("… Redis commands a job", f"{per_job.commands:.0f} beside the idle ones")
    sizes = {kind: (size - kept_before[kind]) / count for kind, size in (await _kept_bytes(redis)).items()}
    days = {
        "job": JOB_LIFETIME_S // DAY_S,
        "shelf": KEPT_LIFETIME_S // DAY_S,
        "call": CALL_LIFETIME_S // DAY_S,
    }
    of_a_day = sum(sizes[kind] * lifetime for kind, lifetime in days.items())
    yield Row(
        "… kept in Redis a job",
        f"{', '.join(f'{sizes[kind]:.0f} bytes for {it} days' for kind, it in days.items())}, "
        f"{sizes['tasks']:.0f} for minutes: 1 GB holds {1e9 / of_a_day:.0f} jobs a day",
    )


def _messages(call: BotCall) -> int:
    """As Telegram counts them."""
    method, parameters = call.method, call.parameters
    if method == "sendMediaGroup":
        return len(json.loads(parameters["media"]))
    return int(method.startswith(("send", "edit")) and method != "sendChatAction")


async def _kept_bytes(redis: Redis) -> Counter[str]:
    """What lies there by how long it stays: of jobs, on the shelf, of create calls, and the engine's."""
    sizes: Counter[str] = Counter(job=0, shelf=0, call=0, tasks=0)
    async for key in redis.scan_iter(count=1000):
        name = key.decode()
        if name.startswith(tuple(Queue)):
            kind = "tasks"
        elif name == LEDGER or (name.startswith(CALL.format("")) and not name.endswith(":source")):
            kind = "call"
        else:
            kind = "shelf" if name.startswith(KEPT.format("")) or name.endswith(":kept") else "job"
        sizes[kind] += await redis.memory_usage(key, samples=0) or 0
    return sizes
