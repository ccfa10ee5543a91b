"""Arbitrary requests to the webhook's endpoints: each gets a documented answer, never a server error."""

import asyncio
import json
from collections import Counter
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from fuzzing import JSON, SCALARS, TEXT, fuzzed, mostly
from hypothesis import given
from hypothesis import strategies as st
from product import Product, until
from serverlog import no_server_errors

from sandbox.environment.server import serve
from sandbox.telegram.chats import Message
from stemdrop.domain.jobs import JobState
from webhook.app import create_app
from webhook.connection_limits import HeaderTimeoutProtocol

SOURCE_ANSWERS = {200, 206, 403, 404, 416, 429, 503}
# Endpoint → its statuses.
ANSWERS = {
    "POST /callback": {200, 403, 408, 413, 422, 503},
    "POST /telegram": {200, 403, 408, 413, 503},
    "POST /probe": {200, 404, 408, 413, 422, 503},
    "GET /probe": {200, 206, 404, 416, 503},
    "GET /source": SOURCE_ANSWERS,
    "HEAD /source": SOURCE_ANSWERS,
}

STEMS = st.dictionaries(
    st.sampled_from(["vocal_url", "origin_url", "x_url", "id"]), TEXT | SCALARS, max_size=3
)
DATA = st.fixed_dictionaries(
    {"task_id": mostly(st.just("task-1"), SCALARS)},
    optional={"vocal_removal_info": mostly(STEMS, JSON), "vocal_separation_info": mostly(st.none(), JSON)},
)
BODIES = {
    "callback": st.fixed_dictionaries(
        {"code": mostly(st.sampled_from([200, 400, 451, 0, 9999]), SCALARS), "data": mostly(DATA, JSON)},
        optional={"msg": JSON},
    ),
    "telegram": st.fixed_dictionaries(
        {"update_id": mostly(st.integers(), SCALARS)}, optional={"message": JSON}
    ),
    "probe": st.fixed_dictionaries({"nonce": mostly(st.just("<nonce>"), TEXT)}),
    "source": st.none(),
}
JUNK = st.binary(max_size=50) | st.sampled_from([b"[" * 9999, b"1" * 9999, b"\xff\xfe{", b"\x00"])
RANGES = st.sampled_from(["", "bytes=0-9", "bytes=-5", "bytes=999999999-", "bytes=5-2", "bytes=0-1,3-4", "x"])
SEGMENTS = TEXT.filter(lambda text: text and "/" not in text)  # else the path is another one
NAMES = st.sampled_from(["audio.mp3", "audio.wav", "x"]) | SEGMENTS


@pytest.fixture
def product_options() -> dict[str, Any]:
    return {"TELEGRAM_UPDATES": "webhook"}


def request_of(endpoint: str, valid: dict[str, str], data: st.DataObject) -> httpx.Request:
    """Draw a request to an endpoint; mostly with a valid token, since others get the same answer."""
    method, _, name = endpoint.partition(" /")
    path = f"/{name}"
    if name in ("callback", "probe", "source"):
        path += "/" + quoted(data.draw(mostly(st.just(valid[name]), SEGMENTS)))
    if name == "source":
        path += "/" + quoted(data.draw(mostly(st.just("audio.mp3"), NAMES)))
    headers = {"Range": data.draw(RANGES)} if method != "POST" else {}
    if name == "telegram" and data.draw(mostly(st.just(True), st.just(False))):
        headers["X-Telegram-Bot-Api-Secret-Token"] = valid["telegram"]
    query = quoted(data.draw(mostly(st.just(""), TEXT)))
    body = data.draw(BODIES[name] | BODIES[name] | JSON)
    valid_json = json.dumps(body).replace("<nonce>", valid["probe"]).encode()
    content = data.draw(mostly(st.just(valid_json), JUNK)) if method == "POST" else b""
    return httpx.Request(method, f"http://webhook{path}?{query}", headers=headers, content=content)


def quoted(text: str) -> str:
    return quote(text.encode(errors="surrogatepass"), safe="")


def check(endpoint: str, response: httpx.Response) -> None:
    """Check that a response is one that the endpoint is documented to give."""
    assert response.status_code in ANSWERS[endpoint]
    if response.status_code >= 400 and response.status_code != 416:
        if not endpoint.startswith("HEAD"):
            assert [type(value) for value in response.json().values()] == [str]
            assert response.json().keys() == {"detail"}
    elif endpoint.startswith("POST"):
        assert response.headers["content-type"] == "application/json"
    if response.status_code in (429, 503):
        assert int(response.headers["retry-after"]) >= 1


async def fuzz(
    client: httpx.AsyncClient, endpoint: str, valid: dict[str, str], nonces: list[str]
) -> Counter[int]:
    """Send requests to an endpoint and check the answers; returns how often each status came."""
    loop = asyncio.get_running_loop()
    seen: Counter[int] = Counter()

    @fuzzed(20)
    @given(st.data())
    def hold(data: st.DataObject) -> None:
        request = request_of(endpoint, valid | {"probe": nonces[seen.total() % len(nonces)]}, data)
        response = asyncio.run_coroutine_threadsafe(client.send(request), loop).result()
        seen[response.status_code] += 1
        check(endpoint, response)

    await asyncio.to_thread(hold)
    return seen


async def test_every_request_gets_a_documented_answer(product: Product, sent: Message) -> None:
    # an unexpected exception fails the test; it is not made into a status
    transport = httpx.ASGITransport(create_app(product), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport) as client:
        for endpoint in ANSWERS:
            job = await product.at(JobState.SEPARATING, sent)
            valid = {
                "callback": product.links.callback_url(job.id, job.chat_id).rpartition("/")[2],
                "source": product.links.source_url(job.id, ".mp3").split("/")[-2],
                "telegram": product.links.updates_secret,
            }
            count = 100 if endpoint.endswith("probe") else 1
            nonces = [await product.probes.lay() for _ in range(count)]  # each serves once
            seen = await fuzz(client, endpoint, valid, nonces)
            assert min(seen) < 300, endpoint
            assert max(seen) >= 400, endpoint


def malformed_requests(callback: str, source: str) -> dict[str, bytes]:
    """Return malformed or unusual HTTP requests by name."""
    # without the malformed part the answer would be 416 or 422
    get = f"GET {source} HTTP/1.1\r\nHost: x\r\nRange: bytes=99999999-\r\n"
    post = f"POST {callback} HTTP/1.1\r\nHost: x\r\n"
    texts = {
        "a line": "hello\r\n\r\n",
        "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "no host": f"GET {source} HTTP/1.1\r\n\r\n",
        "two hosts": f"{get}Host: y\r\n\r\n",
        "NUL in the path": "GET /source/\x00/audio.mp3 HTTP/1.1\r\nHost: x\r\n\r\n",
        "quoted NUL": "GET /source/%00/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        "quoted line end": "GET /source/%0d%0aX:%20y/audio.mp3 HTTP/1.1\r\nHost: x\r\n\r\n",
        "blank in the path": "GET /source/a b/audio.mp3 HTTP/1.1\r\nHost: x\r\n\r\n",
        "another server": f"GET http://example.com{source} HTTP/1.1\r\nHost: x\r\n\r\n",
        "a tunnel": "CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        "an unknown probe": "GET /probe/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\nHost: x\r\n\r\n",
        "the server": "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "upwards": f"GET {source}/../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        "doubled slashes": f"GET /{source} HTTP/1.1\r\nHost: x\r\n\r\n",
        "a parameter": f"GET {source};/x HTTP/1.1\r\nHost: x\r\n\r\n",
        "a fragment": f"GET {source}#/../x HTTP/1.1\r\nHost: x\r\n\r\n",
        "an upgrade": f"{get}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "another method": f"{get}X-HTTP-Method-Override: DELETE\r\n\r\n",
        "another path": f"{get}X-Original-URL: /metrics\r\n\r\n",
        "a folded header": f"{get}X: y\r\n z\r\n\r\n",
        "a header without a name": f"{get}: x\r\n\r\n",
        "a header of no ASCII": f"{get}X: \xb9\xff\r\n\r\n",
        "a huge header": f"{get}X: {'x' * 100_000}\r\n\r\n",
        "many headers": get + "X: y\r\n" * 10_000 + "\r\n",
        "a huge path": f"GET /source/{'a' * 100_000}/audio.mp3 HTTP/1.1\r\nHost: x\r\n\r\n",
        "lengths that differ": f"{post}Content-Length: 2\r\nContent-Length: 5\r\n\r\n{{}}",
        "a negative length": f"{post}Content-Length: -2\r\n\r\n{{}}",
        "a length of words": f"{post}Content-Length: two\r\n\r\n{{}}",
        "a huge length": f"{post}Content-Length: {'9' * 400}\r\n\r\n{{}}",
        "length and chunks": f"{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "an unknown coding": f"{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "a chunk of no length": f"{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n",
        "a negative chunk": f"{post}Transfer-Encoding: chunked\r\n\r\n-2\r\n{{}}\r\n0\r\n\r\n",
        "a huge chunk": f"{post}Transfer-Encoding: chunked\r\n\r\n{'f' * 30}\r\n{{}}\r\n",
        "a trailer": f"{post}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\nContent-Length: 9\r\n\r\n",
        "an older version": f"POST {callback} HTTP/1.0\r\nContent-Length: 2\r\n\r\n{{}}",
        "no version": f"GET {source}\r\n\r\n",
    }
    return {name: text.encode("latin-1") for name, text in texts.items()}


def handled() -> list[str]:
    """Return the requests that the server still handles."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.endswith("run_asgi")]


async def test_malformed_http_is_refused(
    product: Product, sent: Message, caplog: pytest.LogCaptureFixture
) -> None:
    job = await product.at(JobState.SEPARATING, sent)
    callback = urlsplit(product.links.callback_url(job.id, job.chat_id)).path
    source = urlsplit(product.links.source_url(job.id, ".mp3")).path
    app = create_app(product)
    statuses: dict[str, int] = {}
    async with serve(app, protocol=HeaderTimeoutProtocol) as url, asyncio.timeout(120):
        with no_server_errors(caplog):
            for name, request in malformed_requests(callback, source).items():
                reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
                writer.write(request)
                line = await reader.readline()
                statuses[name] = int(line.split()[1])
                writer.transport.abort()
            await until(lambda: not handled())
    assert {name: status for name, status in statuses.items() if not 400 <= status < 500} == {}
    assert product.telegram.token not in caplog.text
    assert await product.job(job.id) == job
