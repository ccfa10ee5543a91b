"""The webhook while Redis is away, and after it has come back."""

import asyncio
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from product import open_product
from waits import WAIT_S

from sandbox.environment.redis_server import RedisServer
from sandbox.environment.server import serve
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import JobState
from stemdrop.observability.metric_definitions import API_CALLS, DELIVERY_SECONDS
from webhook.app import create_app

RESULT = {"code": 200, "data": {"task_id": "task-1", "vocal_removal_info": {"vocal_url": "https://x/v.mp3"}}}


async def test_without_redis_requests_get_503_and_downloads_continue(
    tmp_path: Path, telegram: Telegram, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.source.CHECK_INTERVAL_S", 0.0)
    song = await telegram.send_file(alice.id, BytesIO(bytes(400_000)), kind="document", file_name="long.wav")
    telegram.faults.add(FaultKind.SLOW, method="download", bytes_per_s=200_000)
    async with (
        RedisServer(tmp_path / "redis") as redis,
        run_telegram(telegram) as telegram_url,
        open_product(redis.url, telegram, telegram_url) as product,
        serve(create_app(product)) as url,
        httpx.AsyncClient(base_url=url, timeout=WAIT_S) as client,
    ):
        job = await product.at(JobState.SEPARATING, song)
        callback = urlsplit(product.links.callback_url(job.id, job.chat_id)).path
        source = urlsplit(product.links.source_url(job.id, job.source.extension)).path
        product.counters.add(API_CALLS, "create", "ok")
        await product.counters.write()
        async with client.stream("GET", source) as download:
            chunks = download.aiter_bytes()
            received = len(await anext(chunks))
            await asyncio.to_thread(redis.kill)

            refused = [
                await client.post(callback, json=RESULT),
                *[await client.get(path) for path in ("/readyz", "/metrics", source)],
            ]
            for answer in refused:
                assert answer.status_code == 503
                assert int(answer.headers["retry-after"]) > 0
                assert "Redis" in answer.text
                assert redis.url not in answer.text
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.post("/callback/forged", json=RESULT)).status_code == 403
            product.counters.add(API_CALLS, "create", "ok", by=2)
            product.counters.observe(DELIVERY_SECONDS, "send", seconds=1.5)
            await product.counters.write()
            received += sum([len(chunk) async for chunk in chunks])
        assert received == 400_000

        await asyncio.to_thread(redis.start)
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post(callback, json=RESULT)).json() == {"status": "received"}
        assert (await product.job(job.id)).state is JobState.DELIVERING
        assert await product.ordered() == [("deliver", job.id)]
        await product.counters.write()
        text = (await client.get("/metrics")).text
        assert 'stemdrop_api_calls_total{call="create",outcome="ok"} 3.0' in text
        assert 'stemdrop_delivery_seconds_sum{step="send"} 1.5' in text
