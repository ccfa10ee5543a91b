"""Callbacks: how many are answered a second, and how soon, by one webhook and by two behind one address."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from builders import make_result
from deployment import Deployment
from load import fire, post
from measure import Row, Used, cpu_s
from redis.asyncio import Redis
from seeds import separating, task_of

from sandbox.environment.ports import free_port
from stemdrop.http.signed_links import SignedLinks

CALLBACKS, ALONE = 1500, 300
CONNECTIONS = 32


async def run(deployment: Deployment) -> AsyncIterator[Row]:
    """Measure with one connection, where no request waits for another, and with many."""
    quick = [post("/callback/token", _body("task"))]
    async with _bare() as port:
        await fire(quick * ALONE, [port], 1)  # warm
        bare_alone = await fire(quick * ALONE, [port], 1)
        bare = await fire(quick * CALLBACKS, [port], CONNECTIONS)
    yield Row("a bare FastAPI endpoint that answers 200, one request at a time", str(bare_alone))
    yield Row(f"the same, {CONNECTIONS} at a time", str(bare))
    async with Redis.from_url(deployment.redis_url) as redis:
        first = await _webhook(deployment)
        await fire(await _callbacks(deployment, ALONE), [first.port], 1)  # warm
        alone = await fire(await _callbacks(deployment, ALONE), [first.port], 1)
        yield Row("callbacks, one at a time", str(alone), "bare", alone.per_s / bare_alone.per_s)
        requests = await _callbacks(deployment, CALLBACKS)
        cpu, used = cpu_s(first.pid), await Used.by(redis)
        one = await fire(requests, [first.port], CONNECTIONS)
        cpu, used = (cpu_s(first.pid) - cpu) / CALLBACKS, (await Used.by(redis) - used).per(CALLBACKS)
        yield Row(f"callbacks, {CONNECTIONS} at a time, 1 webhook", str(one), "bare", one.per_s / bare.per_s)
        yield Row("… processor time each", f"webhook {cpu * 1e3:.2f} ms = {1 / cpu:.0f}/s a core")
        redis_each = (
            f"{used.cpu_s * 1e3:.2f} ms = {1 / used.cpu_s:.0f}/s a core, {used.commands:.0f} commands"
        )
        yield Row("… of Redis", redis_each)
        requests = await _callbacks(deployment, CALLBACKS)
        await redis.config_set("appendfsync", "always")
        safe = await fire(requests, [first.port], CONNECTIONS)
        await redis.config_set("appendfsync", "everysec")
        yield Row("… with `appendfsync always`", str(safe), "`everysec`", safe.per_s / one.per_s)
        second = await _webhook(deployment)
        await fire(await _callbacks(deployment, ALONE), [second.port], 1)  # warm
        both = await fire(await _callbacks(deployment, CALLBACKS), [first.port, second.port], CONNECTIONS)
        yield Row("callbacks, 2 webhooks", str(both), "one webhook", both.per_s / one.per_s)
        await redis.flushall()  # these results are not to be delivered


@dataclass(frozen=True, slots=True)
class _Webhook:
    pid: int
    port: int


async def _webhook(deployment: Deployment) -> _Webhook:
    port = free_port()
    process = await deployment.environment.start("webhook", f"webhook-{port}", {"LISTEN_PORT": str(port)})
    return _Webhook(process.pid, port)


async def _callbacks(deployment: Deployment, count: int) -> list[bytes]:
    """Valid ones, each for a job of its own."""
    settings = deployment.environment.variables()
    links = SignedLinks(settings["SECRET_KEY"], settings["PUBLIC_URL"])
    async with deployment.store() as store:
        jobs = await separating(store, [{}] * count)
    return [post(urlsplit(links.callback_url(job.id, job.chat_id)).path, _body(task_of(job))) for job in jobs]


def _body(task_id: str) -> bytes:
    info = {f"{stem.key.removesuffix('s')}_url": stem.url for stem in make_result().stems}
    data = {"task_id": task_id, "vocal_removal_info": {"origin_url": "", **info}}
    return json.dumps({"code": 200, "msg": "success", "data": data}).encode()


@asynccontextmanager
async def _bare() -> AsyncIterator[int]:
    here = str(Path(__file__).with_name("bare.py"))
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        port, number = int(listening.getsockname()[1]), listening.fileno()
        process = await asyncio.create_subprocess_exec(sys.executable, here, str(number), pass_fds=[number])
    try:
        yield port
    finally:
        process.terminate()
        await process.wait()
