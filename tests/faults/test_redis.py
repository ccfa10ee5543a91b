"""Redis dies, hangs, is full, cannot be reached, or hands over to its replica."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from deployment import Deployment, until
from fault_case import Case, port_of
from ledger import ALL_STEMS, VOCALS, Ledger
from redis.asyncio import Redis
from scenarios import SAY

from sandbox.environment.redis_server import RedisServer
from sandbox.telegram.faults import FaultKind

# So long it takes until a song's arrival goes on.
BUSY_S = 2
REFUSED = b"StoreClosed"
MODES = (VOCALS, ALL_STEMS, VOCALS)


async def break_amid(
    ledger: Ledger, fail: Callable[[], Awaitable[object]], heal: Callable[[], Awaitable[object]], for_s: float
) -> None:
    """Break Redis while songs are delivered, separated and sent."""
    deployment = ledger.deployment
    delivering = await ledger.play_all(MODES)
    await delivering[0].person.sees(lambda: delivering[0].titles)
    deployment.provider.answers_by_itself = False
    separating = await ledger.play_all(MODES)
    await deployment.accepted(len(ledger.plays))
    await fail()
    deployment.provider.answers_by_itself = True
    sending = [asyncio.create_task(ledger.play(mode)) for mode in MODES]
    creates = deployment.provider.creates[-len(separating) :]
    posting = [asyncio.create_task(deployment.provider.post_patiently(create)) for create in creates]
    await asyncio.sleep(for_s)
    await heal()
    await asyncio.gather(*sending, *posting)


@pytest.mark.full
async def test_killed_and_restarted(case: Case) -> None:
    deployment, ledger = await case.open("up")
    redis, times = deployment.environment.redis, case.times(1, 10)
    for _ in range(times):
        kill, start = partial(asyncio.to_thread, redis.kill), partial(asyncio.to_thread, redis.start)
        await break_amid(ledger, kill, start, 1)
    case.healed()
    await case.settle(ledger, "Redis killed, started again after 1 s (append-only file)", times)


@pytest.mark.full
async def test_hung(case: Case) -> None:
    deployment, ledger = await case.open("up")
    pid, times, for_s = deployment.environment.redis.pid, case.times(1, 3), case.times(2, 20)
    assert pid

    async def tell(number: signal.Signals) -> None:
        os.kill(pid, number)

    for _ in range(times):
        await break_amid(ledger, partial(tell, signal.SIGSTOP), partial(tell, signal.SIGCONT), for_s)
    case.healed()
    await case.settle(ledger, f"Redis hung for {for_s} s", times)


async def limit_memory(deployment: Deployment, size_bytes: int) -> None:
    """Limit the memory of Redis; 0 means no limit."""
    async with Redis.from_url(deployment.redis_url) as redis:
        await redis.config_set("maxmemory", size_bytes)


@pytest.mark.full
async def test_full(case: Case) -> None:
    deployment, ledger = await case.open("up")
    times, for_s = case.times(1, 5), case.times(2, 10)
    for _ in range(times):
        await break_amid(
            ledger, partial(limit_memory, deployment, 1), partial(limit_memory, deployment, 0), for_s
        )
    case.healed()
    await case.settle(ledger, f"Redis full for {for_s} s (`maxmemory`, `noeviction`)", times)


@pytest.mark.full
async def test_full_while_a_song_is_being_handled(case: Case) -> None:
    """Telegram was told that it is received: it is answered when there is room again."""
    deployment, ledger = await case.open("up")
    times, for_s = case.times(1, 3), case.times(1, 10)
    log = deployment.processes[0].log
    for pause_s in (0, for_s) * times if case.is_full else (0,):
        # so that it is begun while there is room, and its job is stored when there is none any more
        busy = deployment.telegram.faults.add(
            FaultKind.TOO_MANY_REQUESTS, method="getFile", retry_after_s=BUSY_S
        )
        # a document, which the bot fetches before it stores the job
        playing, begun = asyncio.create_task(ledger.play(VOCALS, kind="document")), log.stat().st_size
        await until(lambda busy=busy: busy.hits)
        await limit_memory(deployment, 1)
        async with asyncio.timeout(120):
            # at once: before the engine has found out that it cannot note that the song is done with
            while REFUSED not in log.read_bytes()[begun:]:  # noqa: ASYNC110
                await asyncio.sleep(0)
        await asyncio.sleep(pause_s)
        await limit_memory(deployment, 0)
        play = await playing
        assert SAY("trouble") not in [message.text for message in play.texts]
    case.healed()
    fault = f"Redis full for a moment and for {for_s} s, amid a song's arrival"
    await case.settle(ledger, fault, len(ledger.plays))


async def test_network_cut(case: Case) -> None:
    _, ledger, wire = await case.open_wired("bot", "webhook", "worker")
    times, for_s = case.times(1, 5), case.times(2, 10)

    async def cut() -> None:
        wire.cut()

    async def mend() -> None:
        wire.mend()

    for _ in range(times):
        await break_amid(ledger, cut, mend, for_s)
    case.healed()
    await case.settle(ledger, f"The network to Redis cut for {for_s} s", times)


@pytest.mark.full
async def test_failover_to_its_replica(case: Case) -> None:
    """A replica is promoted behind the same address, as Sentinel or a managed Redis does it."""
    second = await case.stack.enter_async_context(RedisServer(case.folder / "replica"))
    deployment, ledger, _ = await case.open_wired("up")
    first = deployment.environment.redis
    password = first.url.partition("://:")[2].partition("@")[0]
    replica = await case.stack.enter_async_context(Redis.from_url(second.url, decode_responses=True))
    await replica.config_set("masterauth", password)
    await replica.execute_command("REPLICAOF", "127.0.0.1", port_of(first.url))
    async with asyncio.timeout(120):
        while (await replica.info("replication"))["master_link_status"] != "up":  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def lose_the_first() -> None:
        await asyncio.to_thread(first.kill)

    async def promote() -> None:
        await replica.execute_command("REPLICAOF", "NO", "ONE")
        await replica.config_set("requirepass", password)
        deployment.redis_url = first.url.replace(f":{port_of(first.url)}/", f":{port_of(second.url)}/")

    await break_amid(ledger, lose_the_first, promote, 2)
    case.healed()
    await case.settle(ledger, "Redis lost, its replica promoted behind the same address")
