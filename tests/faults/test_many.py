"""Many processes on one Redis: half of them die, and what is to happen once happens once."""

import asyncio
import re
from collections import Counter

import pytest
from fault_case import Case, port_of
from ledger import ALL_STEMS, VOCALS, Ledger
from tcp_proxy import TcpProxy

from sandbox.environment.ports import free_port

WEBHOOKS, WORKERS = 2, 4
SWEEP_EVERY_S = 2


@pytest.mark.full
async def test_two_webhooks_and_four_workers_of_which_half_die(case: Case) -> None:
    ports = [free_port() for _ in range(WEBHOOKS)]
    async with (
        TcpProxy(lambda: ports).run() as front,
        case.deployment(TELEGRAM_UPDATES="webhook") as deployment,
    ):
        environment, provider = deployment.environment, deployment.provider
        public = {"PUBLIC_URL": f"http://127.0.0.1:{front.port}"}
        webhooks = [
            await environment.start("webhook", f"webhook-{port}", public | {"LISTEN_PORT": str(port)})
            for port in ports
        ]
        deployment.settings |= public
        bots = await deployment.start("bot", "bot")
        workers = await deployment.start(*["worker"] * WORKERS)
        ledger = Ledger(deployment)
        times = case.times(1, 5)
        for _ in range(times):
            provider.hold_stems.clear()
            playing = asyncio.create_task(ledger.play_all([VOCALS, ALL_STEMS, VOCALS, ALL_STEMS]))
            await deployment.accepted(len(ledger.plays) + 3)
            victims = [webhooks[0], bots[0], *workers[: WORKERS // 2]]
            for victim in victims:
                victim.kill()
            provider.hold_stems.set()
            await playing
            case.healed()
            await ledger.all_well()
            webhooks[0] = await environment.start(
                "webhook", f"webhook-{ports[0]}", public | {"LISTEN_PORT": str(ports[0])}
            )
            bots[0] = await environment.start("bot", "bot-1", public)
            for number in range(WORKERS // 2):
                workers[number] = await environment.start("worker", f"worker-{number + 1}", public)
        fault = f"half of {WEBHOOKS} webhooks, 2 bots and {WORKERS} workers killed"
        await case.settle(ledger, fault, times, twice=2 * times)
        assert deployment.telegram.flood_refusals == 0
        assert len(deployment.provider.creates) == len(ledger.plays)
        submitted = Counter(re.findall(r"job (\w+): accepted by \w+ as task", environment.logs()))
        # none where all that asked died before they could say so
        assert set(submitted.values()) <= {1}
        assert port_of(public["PUBLIC_URL"]) == front.port
