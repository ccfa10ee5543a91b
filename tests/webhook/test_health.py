"""`/healthz` and `/readyz`."""

import httpx
from product import Product


async def test_a_running_webhook_is_alive_and_ready(client: httpx.AsyncClient) -> None:
    for path, status in (("/healthz", "alive"), ("/readyz", "ready")):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": status})


async def test_not_ready_while_redis_refuses_writes(product: Product, client: httpx.AsyncClient) -> None:
    await product.redis.config_set("maxmemory", "1")
    try:
        answer = await client.get("/readyz")
    finally:
        await product.redis.config_set("maxmemory", "0")
    assert answer.status_code == 503
    assert "Redis refused" in answer.text
