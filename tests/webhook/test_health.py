"""`/healthz` and `/readyz`."""

import asyncio
from pathlib import Path

import httpx
from product import Product, open_product

from sandbox.environment.redis_server import RedisServer
from sandbox.environment.server import serve
from sandbox.telegram.app import run_telegram
from sandbox.telegram.person_actions import Telegram
from webhook.app import create_app


async def test_alive_and_ready(client: httpx.AsyncClient) -> None:
    for path, status in (("/healthz", "alive"), ("/readyz", "ready")):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": status})


async def test_without_redis_alive_but_not_ready(tmp_path: Path, telegram: Telegram) -> None:
    async with (
        RedisServer(tmp_path / "redis") as redis,
        run_telegram(telegram) as telegram_url,
        open_product(redis.url, telegram, telegram_url) as product,
        serve(create_app(product)) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        await asyncio.to_thread(redis.kill)
        assert (await client.get("/healthz")).status_code == 200
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert "Redis" in answer.text
        assert redis.url not in answer.text
        await asyncio.to_thread(redis.start)
        assert (await client.get("/readyz")).status_code == 200


async def test_a_redis_that_takes_no_writes_is_not_ready(product: Product, client: httpx.AsyncClient) -> None:
    await product.redis.config_set("maxmemory", "1")
    try:
        answer = await client.get("/readyz")
    finally:
        await product.redis.config_set("maxmemory", "0")
    assert answer.status_code == 503
    assert "Redis refused" in answer.text
