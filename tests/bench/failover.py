"""Redis is lost, and Sentinels put its replica in its place behind the one address that stemdrop knows."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

from deployment import Deployment, open_deployment
from fault_case import PATIENCE, port_of
from ledger import VOCALS, Ledger
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rows import Row
from tcp_proxy import TcpProxy

from sandbox.environment.ports import free_port
from sandbox.environment.redis_server import RedisServer, find_server_program

SONGS, SENTINELS = 12, 3
DOWN_AFTER_S = 1.0
PATIENCE_S = 180
_NAME = "stemdrop"


async def run(folder: Path) -> AsyncIterator[Row]:
    """While songs are sent, separated and delivered."""
    async with open_deployment(folder, local_mode=False, **PATIENCE) as deployment:
        deployment.ordinary = ("",)
        yield await _measured(deployment)


async def _measured(deployment: Deployment) -> Row:
    first = deployment.environment.redis
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(RedisServer(deployment.environment.directory / "replica"))
        ports = [port_of(first.url)]
        wire = await stack.enter_async_context(TcpProxy(lambda: ports).run())
        sentinels = await stack.enter_async_context(
            _sentinels(deployment.environment.directory, first, second)
        )
        deployment.settings["REDIS_URL"] = first.url.replace(f":{ports[0]}/", f":{wire.port}/")
        deployment.redis_url = deployment.settings["REDIS_URL"]
        await deployment.start("bot", "webhook", "worker")
        deployment.provider.remembers = True  # it calls back three times, and may then have to be asked
        ledger = Ledger(deployment)
        async with asyncio.timeout(PATIENCE_S):
            await ledger.play_all([VOCALS] * (SONGS // 2))
            await asyncio.to_thread(first.kill)
            lost_at = time.perf_counter()
            sending = asyncio.create_task(ledger.play_all([VOCALS] * (SONGS // 2)))
            while ports[0] != port_of(second.url):
                await asyncio.sleep(0.05)
                ports[0] = await _master_port(sentinels)
            promoted_s = time.perf_counter() - lost_at
            await sending
            await ledger.all_well()
        well_s, account = time.perf_counter() - lost_at, ledger.account()
        row = Row(
            f"Redis killed; {SENTINELS} Sentinels (`down-after` {DOWN_AFTER_S:.0f} s), a replica",
            f"promoted after {promoted_s:.1f} s, all of {SONGS} songs delivered after {well_s:.0f} s; "
            f"stems lost {account.lost}, twice {account.twice}; paid twice {account.paid_twice}",
        )
        for process in deployment.processes:
            await process.stop()
        await asyncio.to_thread(first.start)  # the deployment checks it when it closes
        deployment.redis_url = first.url
        async with Redis.from_url(first.url) as redis:
            await redis.flushall()
        return row


@asynccontextmanager
async def _sentinels(folder: Path, first: RedisServer, second: RedisServer) -> AsyncIterator[list[int]]:
    """Their ports. When the block begins, the second is the first's replica, and they know of each other."""
    password = first.url.partition("://:")[2].partition("@")[0]
    async with Redis.from_url(first.url) as primary, Redis.from_url(second.url) as replica:
        await primary.config_set("masterauth", password)
        await replica.config_set("masterauth", password)
        await replica.replicaof("127.0.0.1", port_of(first.url))
        await replica.config_set("requirepass", password)
    ports, processes = [free_port() for _ in range(SENTINELS)], []
    try:
        for port in ports:
            own = folder / f"sentinel-{port}"
            own.mkdir()
            (own / "sentinel.conf").write_text(_configuration(port, own, port_of(first.url), password))
            processes.append(await _start_sentinel(own))
        for port in ports:
            await _knows_all(port)
        yield ports
    finally:
        for process in processes:
            process.terminate()
            await process.wait()


async def _start_sentinel(folder: Path) -> asyncio.subprocess.Process:
    program = find_server_program()
    return await asyncio.create_subprocess_exec(
        program, str(folder / "sentinel.conf"), "--sentinel", stdout=subprocess.DEVNULL
    )


def _configuration(port: int, folder: Path, primary: int, password: str) -> str:
    return "\n".join(
        (
            f"port {port}",
            "bind 127.0.0.1",
            f'dir "{folder}"',
            f"sentinel monitor {_NAME} 127.0.0.1 {primary} {SENTINELS // 2 + 1}",
            f"sentinel auth-pass {_NAME} {password}",
            f"sentinel down-after-milliseconds {_NAME} {DOWN_AFTER_S * 1000:.0f}",
            f"sentinel failover-timeout {_NAME} 10000",
            "",
        )
    )


async def _knows_all(port: int) -> None:
    async with asyncio.timeout(30), Redis.from_url(f"redis://127.0.0.1:{port}") as sentinel:
        while True:
            try:
                known = cast(dict[str, Any], await sentinel.sentinel_master(_NAME))
                if (known["num-slaves"], known["num-other-sentinels"]) == (1, SENTINELS - 1):
                    return
            except RedisError:
                pass  # it has only just begun
            await asyncio.sleep(0.1)


async def _master_port(sentinels: list[int]) -> int:
    """As who stands before them asks: a proxy, or a client that knows Sentinel."""
    async with Redis.from_url(f"redis://127.0.0.1:{sentinels[0]}") as sentinel:
        address = await sentinel.sentinel_get_master_addr_by_name(_NAME)
        return int(cast(tuple[str, int], address)[1])
