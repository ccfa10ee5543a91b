"""Whatever is sent to the doors of the webhook: they answer as their description says, and never fail."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from fuzzing import fuzzed, mostly
from hypothesis import given
from hypothesis import strategies as st
from product import Product, open_product, until
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serverlog import no_server_errors

from sandbox.environment.server import serve
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import JobState
from webhook.app import create_app
from webhook.slow_clients import HeaderTimeoutProtocol

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
REFUSED_BODIES = {403, 408, 413, 422, 503}
SOURCES = {200, 206, 403, 404, 416, 429, 502, 503}
ANSWERS = {
    ("/callback/{token}", "post"): {200} | REFUSED_BODIES,
    ("/telegram", "post"): {200} | REFUSED_BODIES,
    ("/source/{token}/{name}", "get"): SOURCES,
    ("/source/{token}/{name}", "head"): SOURCES,
    ("/probe/{nonce}", "post"): {200, 404, 408, 413, 422, 503},
    ("/probe/{nonce}", "get"): {200, 206, 404, 416, 503},
    ("/healthz", "get"): {200},
    ("/readyz", "get"): {200, 503},
    ("/metrics", "get"): {200, 503},
}


@pytest.fixture
async def product(redis_url: str, telegram: Telegram) -> AsyncIterator[Product]:
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, TELEGRAM_UPDATES="webhook") as opened,
    ):
        yield opened


def described(product: Product) -> dict[str, Any]:
    return create_app(product).openapi()


async def test_every_door_says_all_that_it_answers(product: Product) -> None:
    told = {
        (path, method): {int(status) for status in operation["responses"]}
        for path, operations in described(product)["paths"].items()
        for method, operation in operations.items()
    }
    assert told == ANSWERS


RANGES = st.sampled_from(["", "bytes=0-9", "bytes=-5", "bytes=999999999-", "bytes=5-2", "bytes=0-1,3-4", "x"])


JUNK = st.binary(max_size=50) | st.sampled_from([b"[" * 9999, b"1" * 9999, b"\xff\xfe{", b"\x00"])
IS_RIGHT = mostly(st.just(True), st.just(False))


def set_right(case: Any, usual: dict[str, str], nonces: list[str], data: st.DataObject) -> None:
    """Mostly what makes a request valid is right, or all were refused for the same."""
    if case.path.startswith("/probe"):
        usual["nonce"] = nonces.pop()
    for name in ("token", "name", "nonce"):
        if name in (case.path_parameters or {}) and data.draw(IS_RIGHT):
            case.path_parameters[name] = usual[name]
    if case.path == "/telegram" and data.draw(IS_RIGHT):
        case.headers["X-Telegram-Bot-Api-Secret-Token"] = usual["secret"]
    if isinstance(case.body, dict) and "nonce" in case.body:
        case.body["nonce"] = case.path_parameters["nonce"]
    if case.path.startswith(("/source", "/probe")):
        case.headers["Range"] = data.draw(RANGES)
    if case.path.startswith("/callback") and isinstance(case.body, dict):
        inner = case.body.get("data")
        if isinstance(inner, dict) and "task_id" in inner:
            inner["task_id"] = "task-1"


@pytest.mark.parametrize(("path", "method"), list(ANSWERS))
async def test_doors_answer_as_they_say(product: Product, sent: Message, path: str, method: str) -> None:
    job = await product.at(JobState.SEPARATING, sent)
    links = product.links
    usual = {"name": "audio.mp3", "secret": links.updates_secret}
    if path.startswith("/source"):
        usual["token"] = links.source_url(job.id, ".mp3").split("/")[-2]
    else:
        usual["token"] = links.callback_url(job.id, job.chat_id).rpartition("/")[2]
    nonces = [await product.probes.lay() for _ in range(100)]  # each serves once
    operation = schemathesis.openapi.from_dict(described(product))[path][method.upper()]
    cases = mostly(
        *(operation.as_strategy(mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))
    )
    seen: Counter[int] = Counter()
    app = create_app(product.changed(links=links))
    async with serve(app) as url:
        with requests.Session() as session:

            @fuzzed(15)
            @given(cases, st.data())
            def hold(case: Any, data: st.DataObject) -> None:
                set_right(case, usual, nonces, data)
                broken: dict[str, Any] = {}
                if method == "post" and data.draw(st.sampled_from([False, True, False])):
                    broken = {"json": None, "data": data.draw(JUNK)}
                response = case.call(base_url=url, session=session, **broken)
                seen[response.status_code] += 1
                case.validate_response(response, checks=CHECKS)

            await asyncio.to_thread(hold)
    assert min(seen) < 300
    assert max(seen) >= 400 or path in ("/healthz", "/readyz", "/metrics")


def hardly_http(callback: str, source: str) -> dict[str, bytes]:
    """Requests as no client means them, by name."""
    # what is wrong with it aside, it would be answered 416 or 422
    get = f"GET {source} HTTP/1.1\r\nHost: x\r\nRange: bytes=99999999-\r\n"
    post = f"POST {callback} HTTP/1.1\r\nHost: x\r\n"
    translations = {
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
        "a probe of nobody": "GET /probe/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\nHost: x\r\n\r\n",
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
    return {name: text.encode("latin-1") for name, text in translations.items()}


def handled() -> list[str]:
    """The requests that the server still works at."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.endswith("run_asgi")]


async def test_what_is_hardly_http_is_refused(
    product: Product, sent: Message, caplog: pytest.LogCaptureFixture
) -> None:
    job = await product.at(JobState.SEPARATING, sent)
    callback = urlsplit(product.links.callback_url(job.id, job.chat_id)).path
    source = urlsplit(product.links.source_url(job.id, ".mp3")).path
    app = create_app(product)
    statuses: dict[str, int] = {}
    async with serve(app, protocol=HeaderTimeoutProtocol) as url, asyncio.timeout(60):
        with no_server_errors(caplog):
            for name, request in hardly_http(callback, source).items():
                reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
                writer.write(request)
                line = await reader.readline()
                statuses[name] = int(line.split()[1])
                writer.transport.abort()
            await until(lambda: not handled())
    assert {name: status for name, status in statuses.items() if not 400 <= status < 500} == {}
    assert product.telegram.token not in caplog.text
    assert await product.job(job.id) == job
