"""`/probe/{nonce}`: proves once, for a nonce in our Redis, that this webhook knows the key."""

import asyncio
import json

import httpx
import pytest
from product import SECRET, Product

from stemdrop.storage.keys import PROBE
from stemdrop.storage.probes import UNKNOWN, content, proof
from webhook.probe import MAX_PROBE_BYTES


async def test_a_probe_is_answered_with_a_proof_once(product: Product, client: httpx.AsyncClient) -> None:
    nonce = await product.probes.lay()
    assert 0 < await product.redis.ttl(PROBE.format(nonce)) <= 60
    first, second = [await client.post(f"/probe/{nonce}", json={"nonce": nonce}) for _ in range(2)]
    assert (first.status_code, first.json()) == (200, {"proof": proof(SECRET, nonce)})
    assert (second.status_code, second.json()) == (404, {"detail": UNKNOWN})


async def test_proofs_differ_by_key_and_probe() -> None:
    assert len({proof("one", "a"), proof("two", "a"), proof("one", "b")}) == 3


@pytest.mark.parametrize("nonce", ["A" * 32, "x", "%2e%2e", "a" * 5000, "*", "%00"])
async def test_unknown_nonces_are_refused_and_not_signed(
    product: Product, client: httpx.AsyncClient, nonce: str
) -> None:
    name = httpx.URL(f"http://x/{nonce}").path[1:]
    for answer in (
        await client.post(f"/probe/{nonce}", json={"nonce": name}),
        await client.get(f"/probe/{nonce}"),
    ):
        assert answer.status_code in (404, 422)
        assert "proof" not in answer.text


@pytest.mark.parametrize(
    "how", [{"json": {}}, {"json": {"nonce": "another"}}, {"json": ["nonce"]}, {"content": b"nonce"}, {}]
)
async def test_a_wrong_body_does_not_use_up_the_probe(
    product: Product, client: httpx.AsyncClient, how: dict[str, object]
) -> None:
    nonce = await product.probes.lay()
    assert (await client.post(f"/probe/{nonce}", **how)).status_code == 422  # type: ignore[arg-type]
    assert await product.probes.use_up(nonce)


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [
        ("", 200, 0, 65536),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=-5", 206, 65531, 65536),
        ("x", 200, 0, 65536),
    ],
)
async def test_a_probe_serves_bytes_and_ranges_once(
    product: Product, client: httpx.AsyncClient, wanted: str, status: int, start: int, end: int
) -> None:
    nonce = await product.probes.lay()
    answer = await client.get(f"/probe/{nonce}", headers={"Range": wanted} if wanted else {})
    assert (answer.status_code, answer.content) == (status, content(nonce)[start:end])
    assert answer.headers["content-length"] == str(end - start)
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/65536"
    assert (await client.get(f"/probe/{nonce}")).status_code == 404


async def test_a_range_beyond_the_end_is_refused(product: Product, client: httpx.AsyncClient) -> None:
    nonce = await product.probes.lay()
    answer = await client.get(f"/probe/{nonce}", headers={"Range": "bytes=65536-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */65536")


async def test_a_malformed_nonce_is_unknown_even_if_its_key_exists(product: Product) -> None:
    await product.redis.set(PROBE.format("x"), "1")
    assert not await product.probes.use_up("x")


async def test_the_nonce_is_checked_before_the_body_is_read(client: httpx.AsyncClient) -> None:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(f"POST /probe/{'A' * 32} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n".encode())
    assert b" 404 " in await reader.readline()
    writer.close()


async def test_a_body_over_16_kib_is_refused(product: Product, client: httpx.AsyncClient) -> None:
    nonce = await product.probes.lay()
    for length, status in ((MAX_PROBE_BYTES + 1, 413), (MAX_PROBE_BYTES, 200)):
        body = json.dumps({"nonce": nonce}).encode().ljust(length)
        assert (await client.post(f"/probe/{nonce}", content=body)).status_code == status
