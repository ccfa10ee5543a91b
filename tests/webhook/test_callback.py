"""`POST /callback/{token}`: which callbacks are accepted, and the attacks that are refused."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from itsdangerous import TimestampSigner
from product import PUBLIC_URL, Product, open_product, until
from serverlog import no_server_errors

from sandbox.environment.server import serve
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import Failure, Job, JobState
from stemdrop.domain.outcomes import Receipt
from stemdrop.http.signed_links import CALLBACK_LIFETIME_S, LINK_CLOCK_SKEW_S, SignedLinks
from stemdrop.provider.sunoapi.signatures import SIGNATURE_WINDOW_S
from webhook.app import create_app

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
RECEIVED = {"status": "received"}
KEY = "the-providers-key"
STEMS = {"vocal_url": "https://cdn.example/v.mp3", "instrumental_url": "https://cdn.example/i.mp3"}


def success(task_id: str = "task-1", **info: str) -> dict[str, Any]:
    """Return the provider's callback for a success."""
    data = {"task_id": task_id, "vocal_removal_info": info or STEMS}
    return {"code": 200, "msg": "vocal Removal generated successfully.", "data": data}


def failure(code: int, task_id: str = "task-1") -> dict[str, Any]:
    return {"code": code, "msg": "no", "data": {"task_id": task_id, "vocal_removal_info": None}}


def path_of(product: Product, job: Job, **changes: Any) -> str:
    """Return the path of the job's callback link, or of one signed for something else."""
    named: dict[str, Any] = {"job_id": job.id, "chat_id": job.chat_id} | changes
    return urlsplit(product.links.callback_url(**named)).path


@pytest.fixture
async def job(product: Product, sent: Message) -> Job:
    """A job in `separating`, whose task id is known."""
    return await product.at(JobState.SEPARATING, sent)


async def test_a_result_is_stored_and_its_delivery_task_added(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    answer = await client.post(path_of(product, job), json=success())
    assert (answer.status_code, answer.json()) == (200, RECEIVED)
    now = await product.job(job.id)
    assert now.state is JobState.DELIVERING
    assert now.result
    assert [stem.key for stem in now.result.stems] == ["vocals", "instrumental"]
    assert await product.ordered() == [("deliver", job.id)]


async def test_a_repeated_callback_changes_nothing(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    await client.post(path_of(product, job), json=success())
    await product.ordered()
    await product.store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED)
    before = await product.job(job.id)
    for body in (success(), success(vocal_url="https://cdn.example/other.mp3"), failure(500)):
        answer = await client.post(path_of(product, job), json=body)
        assert (answer.status_code, answer.json()) == (200, RECEIVED)
    assert await product.job(job.id) == before
    assert await product.ordered() == []


async def test_concurrent_callbacks_add_one_delivery_task(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    posts = [client.post(path_of(product, job), json=success()) for _ in range(20)]
    answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {200}
    assert await product.ordered() == [("deliver", job.id)]


async def test_a_repeated_callback_adds_a_missing_delivery_task(
    product: Product, client: httpx.AsyncClient, sent: Message
) -> None:
    """An earlier version added the task in a second step, before which its process may have been killed."""
    job = await product.at(JobState.DELIVERING, sent)
    answer = await client.post(path_of(product, job), json=success())
    assert answer.status_code == 200
    assert await product.ordered() == [("deliver", job.id)]


async def test_a_callback_before_the_create_response_finds_its_job(
    product: Product, client: httpx.AsyncClient, sent: Message
) -> None:
    job = await product.at(JobState.SUBMITTING, sent)
    await product.store.begin_create(job.id)
    answer = await client.post(path_of(product, job), json=success("task-9"))
    assert answer.status_code == 200
    assert await product.store.accept(job.id, "task-9") is Receipt.REPEATED
    now = await product.job(job.id)
    assert (now.state, now.task_id) == (JobState.DELIVERING, "task-9")


async def test_a_failure_is_stored_with_its_code(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    answer = await client.post(path_of(product, job), json=failure(451))
    assert answer.status_code == 200
    now = await product.job(job.id)
    assert now.state is JobState.DELIVERING
    assert now.result
    assert (now.result.code, now.result.stems) == (451, ())
    assert await product.ordered() == [("deliver", job.id)]


async def test_stems_that_arrive_after_a_timeout_are_delivered(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    await product.store.fail(job.id, [JobState.SEPARATING], Failure("timeout", charged=True))
    answer = await client.post(path_of(product, job), json=success())
    assert answer.status_code == 200
    assert (await product.job(job.id)).state is JobState.DELIVERING
    assert await product.ordered() == [("deliver", job.id)]


async def test_a_cancelled_job_stays_cancelled(product: Product, client: httpx.AsyncClient, job: Job) -> None:
    await product.store.move(job.id, [JobState.SEPARATING], JobState.CANCELLED)
    answer = await client.post(path_of(product, job), json=success())
    assert answer.status_code == 200
    assert (await product.job(job.id)).state is JobState.CANCELLED
    assert await product.ordered() == []


async def test_a_callback_link_works_after_its_group_became_a_supergroup(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    path = path_of(product, job)
    await product.store.migrate(job, -1000000000042)
    answer = await client.post(path, json=success())
    assert answer.status_code == 200
    assert (await product.job(job.id)).state is JobState.DELIVERING


async def test_forged_expired_and_foreign_callbacks_are_refused(
    product: Product, client: httpx.AsyncClient, job: Job, sent: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await product.at(JobState.SEPARATING, sent, task_id="task-2")
    good = path_of(product, job)
    foreign_server = SignedLinks("another-secret", PUBLIC_URL)
    with monkeypatch.context() as patch:
        for name, age_s in (
            ("expired", CALLBACK_LIFETIME_S + 60),
            ("from the future", -LINK_CLOCK_SKEW_S - 60),
        ):
            patch.setattr(TimestampSigner, "get_timestamp", lambda self, a=age_s: int(time.time()) - a)
            if name == "expired":
                expired = path_of(product, job)
            else:
                future = path_of(product, job)
    token = good.rpartition("/")[2]
    attacks: dict[str, tuple[str, dict[str, Any]]] = {
        "forged": ("/callback/not-a-token", success()),
        "tampered at its start": (f"/callback/{'0' if token[0] != '0' else '1'}{token[1:]}", success()),
        "tampered at its end": (f"/callback/{token[:-1]}{'A' if token[-1] != 'A' else 'B'}", success()),
        "another case": (f"/callback/{token.swapcase()}", success()),
        "cut": (good[:-5], success()),
        "longer": (good + "A", success()),
        "dots": ("/callback/a.b.c.d", success()),
        "huge": ("/callback/" + "A" * 8000, success()),
        "not ASCII": ("/callback/%F0%9F%8E%B5%ff", success()),
        "expired": (expired, success()),
        "from the future": (future, success()),
        "another server's": (urlsplit(foreign_server.callback_url(job.id, job.chat_id)).path, success()),
        "another chat": (path_of(product, job, chat_id=job.chat_id + 1), success()),
        "unknown job": (path_of(product, job, job_id="0000000000000000"), success()),
        "another job's task": (good, success("task-2")),
        "unknown task": (good, success("task-3")),
        "a source's token": (
            "/callback/" + product.links.source_url(job.id, ".mp3").split("/")[-2],
            success(),
        ),
    }
    answers = {name: await client.post(path, json=body) for name, (path, body) in attacks.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(attacks, 403)
    assert await product.job(job.id) == job
    assert await product.job(other.id) == other
    assert await product.ordered() == []


async def test_a_callback_before_the_create_call_is_refused(
    product: Product, client: httpx.AsyncClient, sent: Message
) -> None:
    for state in (JobState.CHOOSING, JobState.SUBMITTING):
        job = await product.at(state, sent)
        answer = await client.post(path_of(product, job), json=success())
        assert answer.status_code == 403
        assert await product.job(job.id) == job


def bad_bodies() -> dict[str, bytes]:
    """Return bodies that do not follow the contract, by name."""
    task = '"data": {"task_id": "task-1", "vocal_removal_info": null}'
    deep = 100_000
    texts = {
        "empty": "",
        "text": "hello",
        "form": "code=200&data=x",
        "half": json.dumps(success())[:-1],
        "two": json.dumps(success()) * 2,
        "null": "null",
        "true": "true",
        "number": "17",
        "string": '"200"',
        "list": "[]",
        "list of one": f"[{json.dumps(success())}]",
        "empty object": "{}",
        "no data": '{"code": 200, "msg": "ok"}',
        "data null": '{"code": 200, "data": null}',
        "data a list": '{"code": 200, "data": []}',
        "data an empty text": '{"code": 200, "data": ""}',
        "no code": "{" + task + "}",
        "code null": '{"code": null, ' + task + "}",
        "code true": '{"code": true, ' + task + "}",
        "code a fraction": '{"code": 200.5, ' + task + "}",
        "code a word": '{"code": "ok", ' + task + "}",
        "code huge": '{"code": 1' + "0" * 400 + ", " + task + "}",
        "code huger than Python reads": '{"code": 1' + "0" * 5000 + ", " + task + "}",
        "code negative": '{"code": -200, ' + task + "}",
        "code infinite": '{"code": Infinity, ' + task + "}",
        "code not a number": '{"code": NaN, ' + task + "}",
        "code of other digits": '{"code": "٢٠٠", ' + task + "}",
        "no task": '{"code": 200, "data": {}}',
        "task empty": '{"code": 200, "data": {"task_id": ""}}',
        "task a number": '{"code": 200, "data": {"task_id": 17}}',
        "task a list": '{"code": 200, "data": {"task_id": ["task-1"]}}',
        "task too long": json.dumps(success("t" * 129)),
        "task half a surrogate": '{"code": 200, "data": {"task_id": "\\ud800", "vocal_removal_info": {}}}',
        "info a list": '{"code": 200, "data": {"task_id": "task-1", "vocal_removal_info": []}}',
        "info a text": '{"code": 200, "data": {"task_id": "task-1", "vocal_removal_info": "x"}}',
        "brackets": "[" * deep + "]" * deep,
        "braces": '{"a":' * deep + "1" + "}" * deep,
        "open brackets": "[" * deep,
        "deep in data": '{"code": 200, "data": ' + "[" * deep + "]" * deep + "}",
        "too many stems": json.dumps(success(**{f"s{n}_url": f"https://cdn.example/{n}" for n in range(99)})),
        "unescaped control": '{"code": 200, "data": {"task_id": "a\x00b"}}',
    }
    utf8 = {name: text.encode() for name, text in texts.items()}
    return utf8 | {
        "NUL bytes": bytes(100),
        "not UTF-8": b'{"code": 200, "data": {"task_id": "\xff\xfe"}}',
        "latin-1": '{"code": 200, "msg": "é", "data": {}}'.encode("latin-1"),
        "gzip": b"\x1f\x8b\x08\x00" + bytes(50),
        "image": b"\xff\xd8\xff\xe0" + bytes(50),
        "UTF-16 of no contract": '{"code": 200}'.encode("utf-16"),
        "UTF-32 cut": json.dumps(success()).encode("utf-32")[:-2],
    }


async def test_bodies_that_break_the_contract_are_refused(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    bodies = bad_bodies()
    statuses = {
        name: (await client.post(path_of(product, job), content=body)).status_code
        for name, body in bodies.items()
    }
    assert statuses == dict.fromkeys(bodies, 422)
    assert await product.job(job.id) == job
    assert await product.ordered() == []


async def test_headers_about_the_body_are_ignored(
    product: Product, client: httpx.AsyncClient, sent: Message
) -> None:
    headers = [
        {},
        {"content-type": "application/json; charset=utf-8"},
        {"content-type": "text/plain"},
        {"content-type": "multipart/form-data"},
        {"content-type": "nothing known"},
        {"content-encoding": "gzip"},
        {"x-webhook-signature": "nonsense", "x-webhook-timestamp": "nonsense"},
    ]
    for number, extra in enumerate(headers):
        job = await product.at(JobState.SEPARATING, sent, task_id=f"task-{number}")
        body = json.dumps(success(f"task-{number}")).encode()
        answer = await client.post(path_of(product, job), content=body, headers=extra)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()) == (200, RECEIVED), extra


async def test_unusual_but_valid_json_is_accepted(
    product: Product, client: httpx.AsyncClient, sent: Message
) -> None:
    bodies = {
        "UTF-16": json.dumps(success()).encode("utf-16"),
        "UTF-8 with a mark": b"\xef\xbb\xbf" + json.dumps(success()).encode(),
        "white space": b" \r\n\t" + json.dumps(success()).encode() + b"\n",
        "code as text": json.dumps({**success(), "code": "200"}).encode(),
        "more fields": json.dumps({**success(), "new": {"a": [1]}}).encode(),
    }
    for name, body in bodies.items():
        job = await product.at(JobState.SEPARATING, sent)
        answer = await client.post(path_of(product, job), content=body)
        assert answer.status_code == 200, name
        await product.redis.delete("stemdrop:task:task-1")


async def chunks(total: int) -> AsyncIterator[bytes]:
    for _ in range(total // 65536):
        yield b" " * 65536


async def test_a_body_over_one_mebibyte_is_refused(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    path, mebibyte = path_of(product, job), 1024 * 1024
    whole = json.dumps(success()).encode()
    with_length = await client.post(path, content=b" " * (mebibyte + 1))
    assert with_length.status_code == 413
    assert (await client.post(path, content=chunks(2 * mebibyte))).status_code == 413
    assert await product.job(job.id) == job
    assert (await client.post(path, content=whole.rjust(mebibyte))).status_code == 200


async def test_the_token_is_checked_before_the_body_is_read(
    product: Product, client: httpx.AsyncClient
) -> None:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(b"POST /callback/forged HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    async with asyncio.timeout(120):
        assert b" 403 " in await reader.readline()
    writer.close()


@asynccontextmanager
async def with_short_timeout(product: Product) -> AsyncIterator[Callable[[], Awaitable[Streams]]]:
    """Run a webhook with a body timeout of 50 ms; yields a function that connects to it."""
    app = create_app(product, body_timeout_s=0.05)
    async with serve(app) as url, asyncio.timeout(120):
        yield lambda: asyncio.open_connection("127.0.0.1", urlsplit(url).port)


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("line", "portion"),
    [("Content-Length: 100000", b" "), ("Transfer-Encoding: chunked", b"1\r\n \r\n")],
    ids=["declared", "undeclared"],
)
async def test_a_slow_body_is_answered_408(product: Product, job: Job, line: str, portion: bytes) -> None:
    async with with_short_timeout(product) as connect:
        reader, writer = await connect()
        writer.write(head(path_of(product, job), line))
        status = asyncio.create_task(reader.readline())
        while not status.done():
            writer.write(portion)
            await asyncio.wait({status}, timeout=0.005)
        assert b" 408 " in status.result()
        writer.close()
    assert await product.job(job.id) == job


async def test_a_body_in_many_chunks_is_accepted(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    async def bytewise() -> AsyncIterator[bytes]:
        for byte in json.dumps(success()).encode():
            yield bytes([byte])

    answer = await client.post(path_of(product, job), content=bytewise())
    assert (answer.status_code, answer.json()) == (200, RECEIVED)


async def test_a_client_that_disconnects_within_a_body_causes_no_error(
    product: Product, client: httpx.AsyncClient, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    for line in ("Content-Length: 1000", "Transfer-Encoding: chunked"):
        caplog.clear()
        with no_server_errors(caplog):
            _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
            writer.write(head(path_of(product, job), line) + b"1\r\n{\r\n")
            await writer.drain()
            writer.close()
            await until(lambda: "client disconnected" in caplog.text or "Exception" in caplog.text)
    assert await product.job(job.id) == job
    assert (await client.post(path_of(product, job), json=success())).status_code == 200


async def test_other_methods_and_paths_are_refused(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        assert (await client.request(method, path_of(product, job))).status_code == 405
    for path in ("/", "/callback", "/callback/", "/docs", "/openapi.json", "/../etc/passwd"):
        assert (await client.get(path)).status_code in (404, 405), path


@pytest.fixture
async def signed(redis_url: str, telegram: Telegram) -> AsyncIterator[Product]:
    """The product with a key for signatures."""
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, CALLBACK_HMAC_KEY=KEY) as opened,
    ):
        yield opened


def signature(task_id: str = "task-1", *, age_s: int = 0, key: str = KEY) -> dict[str, str]:
    """Return the provider's headers as its documentation describes them."""
    timestamp = str(int(time.time()) - age_s)
    digest = hmac.new(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256).digest()
    return {
        "X-Webhook-Timestamp": timestamp,
        "X-Webhook-Signature": base64.b64encode(digest).decode(),
    }


async def test_with_a_key_only_signed_callbacks_are_accepted(signed: Product, sent: Message) -> None:
    good = signature()
    attacks: dict[str, dict[str, str]] = {
        "none": {},
        "no signature": {"X-Webhook-Timestamp": good["X-Webhook-Timestamp"]},
        "no time": {"X-Webhook-Signature": good["X-Webhook-Signature"]},
        "empty": {"X-Webhook-Timestamp": "", "X-Webhook-Signature": ""},
        "another key": signature(key="another"),
        "another task": signature("task-2"),
        "old": signature(age_s=SIGNATURE_WINDOW_S + 30),
        "from the future": signature(age_s=-SIGNATURE_WINDOW_S - 30),
        "another time": {**good, "X-Webhook-Timestamp": str(int(good["X-Webhook-Timestamp"]) - 1)},
        "hexadecimal": {**good, "X-Webhook-Signature": "ab" * 32},
        "not ASCII": {**good, "X-Webhook-Signature": "\xff\xfe"},
        "time a word": {**good, "X-Webhook-Timestamp": "now"},
        "time a fraction": {**good, "X-Webhook-Timestamp": good["X-Webhook-Timestamp"] + ".0"},
        "time huge": {**good, "X-Webhook-Timestamp": "9" * 5000},
        "time of other digits": {**good, "X-Webhook-Timestamp": "\xb2\xb2"},
    }
    job = await signed.at(JobState.SEPARATING, sent)
    app = create_app(signed)
    async with serve(app) as url, httpx.AsyncClient(base_url=url) as client:
        statuses = {}
        for name, headers in attacks.items():
            raw = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
            answer = await client.post(path_of(signed, job), json=success(), headers=raw)
            statuses[name] = answer.status_code
        assert statuses == dict.fromkeys(attacks, 403)
        assert await signed.job(job.id) == job
        answer = await client.post(path_of(signed, job), json=success(), headers=good)
        assert (answer.status_code, answer.json()) == (200, RECEIVED)
