"""StemSplit's API: what is ordered, and every way in which a call or a callback can go wrong."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from contract_server import ContractServer

from stemdrop.domain.jobs import Mode
from stemdrop.domain.results import Result
from stemdrop.errors import AnswerLost, BadContract, ForgedRequest, Refused, SeparationError, Unreachable
from stemdrop.provider.interface import Order
from stemdrop.provider.stemsplit.client import StemSplitClient

CALLBACK = "https://bot.example.com/callback/stemsplit/token"


@pytest.fixture
async def server(tone: bytes) -> AsyncIterator[ContractServer]:
    async with ContractServer("stemsplit", tone).run() as running:
        running.answers_by_itself = False
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
def client(http: httpx.AsyncClient, server: ContractServer) -> StemSplitClient:
    return StemSplitClient(http, server.url, server.key, webhook_secret=server.secret)


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


async def order(client: StemSplitClient, song: bytes, **options: Any) -> Order:
    source = await client.upload("song.mp3", chunks(song), len(song))
    known: dict[str, Any] = {"call_id": "call-1", "source": source, "is_uploaded": True}
    return Order(**{**known, "mode": Mode.SEPARATE_VOCAL, **options})


def linked(**options: Any) -> Order:
    known: dict[str, Any] = {"call_id": "call-1", "source": "http://127.0.0.1:9/t/audio.flac"}
    return Order(**{**known, "is_uploaded": False, "mode": Mode.SEPARATE_VOCAL, **options})


# What is ordered


@pytest.mark.parametrize(
    ("mode", "output", "keys"),
    [
        (Mode.SEPARATE_VOCAL, "BOTH", ["vocals", "instrumental"]),
        (Mode.SPLIT_STEM, "SIX_STEMS", ["vocals", "drums", "bass", "guitar", "piano", "other"]),
    ],
)
async def test_an_uploaded_song_is_split(
    client: StemSplitClient, server: ContractServer, tone: bytes, mode: Mode, output: str, keys: list[str]
) -> None:
    task_id = await client.create(await order(client, tone, mode=mode))
    ordered = dict(server.creates[0])
    assert ordered.pop("uploadKey").startswith("uploads/")
    assert ordered == {
        "task_id": task_id,
        "fileName": "call-1.mp3",
        "outputType": output,
        "quality": "BEST",
        "outputFormat": "MP3",
    }
    assert (await client.fetch(task_id)).result is None
    assert [(await client.fetch(task_id)).progress for _ in range(2)] == [30, 60]
    await server.finish()
    result = (await client.fetch(task_id)).result
    assert result
    assert [stem.key for stem in result.stems] == keys
    assert server.sources == [tone]


async def test_a_song_is_named_by_its_link(client: StemSplitClient, server: ContractServer) -> None:
    await client.create(linked(callback_url=CALLBACK))
    ordered = server.creates[0]
    assert (ordered["sourceUrl"], ordered["callbackUrl"]) == (linked().source, CALLBACK)
    assert ordered["fileName"] == "call-1.flac"


async def test_without_the_secret_no_callbacks_are_asked_for(
    http: httpx.AsyncClient, server: ContractServer
) -> None:
    client = StemSplitClient(http, server.url, server.key)
    assert not client.capabilities.has_callbacks
    await client.create(linked(callback_url=CALLBACK))
    assert "callbackUrl" not in server.creates[0]
    body = b'{"event": "job.failed", "data": {"jobId": "a"}}'
    with pytest.raises(ForgedRequest):
        await client.read_callback({"x-webhook-signature": signed(b"", body)}, body)


async def test_the_balance_is_told(client: StemSplitClient, server: ContractServer) -> None:
    server.credits = 321
    assert await client.balance() == 321


# What goes wrong


@pytest.mark.parametrize(
    ("kind", "code", "pause_s"),
    [
        ("no_key", 401, None),
        ("no_credits", 402, None),
        ("busy", 429, None),
        ("busy_with_retry_after", 429, 45),
        ("maintenance", 455, None),
    ],
)
async def test_a_refusal_orders_nothing(
    client: StemSplitClient, server: ContractServer, kind: str, code: int, pause_s: float | None
) -> None:
    server.fault("create", kind)
    with pytest.raises(Refused) as met:
        await client.create(linked())
    assert (met.value.code, met.value.retry_after_s) == (code, pause_s)
    assert server.creates == []


async def test_a_wrong_key_is_refused_and_not_told(http: httpx.AsyncClient, server: ContractServer) -> None:
    with pytest.raises(Refused) as met:
        await StemSplitClient(http, server.url, "a-wrong-key").create(linked())
    assert met.value.code == 401
    assert "a-wrong-key" not in str(met.value)


def answering(
    answer: Callable[[httpx.Request], httpx.Response], url: str = "https://stemsplit.example/api/v1"
) -> StemSplitClient:
    return StemSplitClient(httpx.AsyncClient(transport=httpx.MockTransport(answer)), url, "the-api-key")


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (403, {"code": "API_KEY_REVOKED", "message": "by the-api-key"}, 403),
        *((400, {"code": known}, 413) for known in ("FILE_TOO_LARGE", "AUDIO_TOO_LONG")),
        (400, {"code": "AUDIO_TOO_SHORT"}, 422),
        *((400, {"code": known}, 400) for known in ("UNSUPPORTED_FORMAT", "VALIDATION_ERROR", 7)),
        *((403, None, 403), (403, "forbidden", 403), (403, [], 403)),  # of Cloudflare
        (422, {"code": "NEW"}, 422),
        *((status, {"code": "X"}, 0) for status in (302, 408, 500, 502)),
        (503, None, 0),
    ],
)
async def test_an_error_has_our_code_or_may_have_been_accepted(status: int, error: Any, code: int) -> None:
    client = answering(lambda request: httpx.Response(status, json={"error": error}))
    with pytest.raises(Refused if code else AnswerLost) as met:
        await client.create(linked())
    assert not code or (isinstance(met.value, Refused) and met.value.code == code)
    assert "the-api-key" not in str(met.value)


async def test_without_a_connection_nothing_is_ordered(http: httpx.AsyncClient) -> None:
    with pytest.raises(Unreachable):
        await StemSplitClient(http, "http://127.0.0.1:9", "key").create(linked())


@pytest.mark.parametrize("honours_keys", [True, False])
async def test_an_order_whose_answer_was_lost_is_found_and_not_repeated(
    client: StemSplitClient, server: ContractServer, *, honours_keys: bool
) -> None:
    server.honours_keys = honours_keys
    await client.create(linked(call_id="another"))
    server.fault("create", "lost")
    with pytest.raises(AnswerLost):
        await client.create(linked())
    found = [await client.create(linked(is_repeated=True)) for _ in range(2)]
    assert found == [server.task_id(), server.task_id()]
    assert len(server.creates) == 2
    with pytest.raises(AnswerLost):
        await client.create(linked(call_id="never-made", is_repeated=True))
    assert len(server.creates) == 2


async def test_a_list_that_cannot_be_read_says_nothing_of_the_order(
    client: StemSplitClient, server: ContractServer
) -> None:
    server.fault("list", "busy")
    with pytest.raises(AnswerLost):
        await client.create(linked(is_repeated=True))


async def test_a_used_key_leads_to_its_job(client: StemSplitClient, server: ContractServer) -> None:
    task_id = await client.create(linked())
    server.fault("create", "used_key", 2)
    assert await client.create(linked()) == task_id
    with pytest.raises(AnswerLost):
        await client.create(linked(call_id="call-2"))
    named = answering(lambda request: httpx.Response(409, json={"error": {"code": "X", "jobId": "a"}}))
    assert await named.create(linked()) == "a"
    assert len(server.creates) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"status": "PENDING"}', b"[" * 100_000])
async def test_an_order_that_names_no_job_may_have_been_accepted(body: bytes) -> None:
    with pytest.raises(AnswerLost):
        await answering(lambda request: httpx.Response(201, content=body)).create(linked())


@pytest.mark.parametrize(("kind", "code"), [("fails_charged", 500), ("fails_refunded", 531)])
async def test_a_failed_job_says_whether_it_was_charged(
    client: StemSplitClient, server: ContractServer, tone: bytes, kind: str, code: int
) -> None:
    server.fault("create", kind)
    task_id = await client.create(await order(client, tone))
    await server.finish()
    assert (await client.fetch(task_id)).result == Result(code)


async def test_expired_links_are_renewed_by_a_poll(
    client: StemSplitClient, server: ContractServer, http: httpx.AsyncClient, tone: bytes
) -> None:
    task_id = await client.create(await order(client, tone))
    await server.finish()
    server.fault("stem", "expired_link")
    statuses, urls = [], []
    for _ in range(2):
        result = (await client.fetch(task_id)).result
        assert result
        urls.append({stem.key: stem.url for stem in result.stems})
        statuses.append((await http.get(urls[-1]["vocals"])).status_code)
    assert statuses == [403, 200]
    assert urls[0].keys() == urls[1].keys()


async def test_an_unknown_job_is_no_result(client: StemSplitClient) -> None:
    with pytest.raises(Refused) as met:
        await client.fetch("../a b?#")
    assert met.value.code == 404


# Uploads


@pytest.mark.parametrize("said", [1, 3])
async def test_a_song_of_another_length_than_declared_is_not_stored(
    client: StemSplitClient, server: ContractServer, said: int
) -> None:
    with pytest.raises(AnswerLost):
        await client.upload("song.mp3", chunks(b"ab"), said)
    assert server.uploads == {}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        *(
            (httpx.Response(200, json={"uploadUrl": url, "uploadKey": "k"}), BadContract)
            for url in ("http://10.0.0.1/x", "https://10.0.0.1/x", "https://[", "")
        ),
        (httpx.Response(403, json={"error": {"code": "API_KEY_REVOKED"}}), Refused),
    ],
)
async def test_an_upload_is_not_sent_to_an_odd_place(answer: httpx.Response, error: type[Exception]) -> None:
    asked: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer

    with pytest.raises(error):
        await answering(reply).upload("song.mp3", chunks(b"song"), 4)
    assert len(asked) == 1


async def test_the_refusal_of_the_storage_says_nothing_about_our_key_and_shows_no_link() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if request.method == "PUT":
            return httpx.Response(403, text=str(request.url))
        url = "https://storage.example/x?X-Amz-Signature=abcdef"
        return httpx.Response(200, json={"uploadUrl": url, "uploadKey": "k"})

    with pytest.raises(AnswerLost) as met:
        await answering(answer).upload("song.mp3", chunks(b"song"), 4)
    assert [request.headers.get("authorization") for request in asked] == ["Bearer the-api-key", None]
    assert "abcdef" not in repr(met.value)


# Callbacks


def signed(secret: bytes, body: bytes) -> str:
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


async def test_a_callback_is_verified_over_its_bytes(client: StemSplitClient, server: ContractServer) -> None:
    body = json.dumps({"event": "job.failed", "data": {"jobId": "ä", "creditsCharged": 0}}).encode()
    right = signed(server.secret.encode(), body)
    for _ in range(2):  # the second is a replay, which `JobStore.receive` knows
        assert await client.read_callback({"x-webhook-signature": right}, body) == ("ä", Result(531))
    for signature in ("", "sha256=", right[7:], right.upper(), right + "0", signed(b"x", body), "sha256=é"):
        with pytest.raises(ForgedRequest):
            await client.read_callback({"x-webhook-signature": signature}, body)
    for changed in (body + b" ", body.replace(b"0", b"1"), b""):
        with pytest.raises(ForgedRequest):
            await client.read_callback({"x-webhook-signature": right}, changed)
    with pytest.raises(BadContract):
        await client.read_callback({"x-webhook-signature": signed(server.secret.encode(), b"[]")}, b"[]")


async def test_every_call_survives_a_lost_answer(client: StemSplitClient, server: ContractServer) -> None:
    for call, made in (
        ("status", lambda: client.fetch("a")),
        ("balance", client.balance),
        ("upload", lambda: client.upload("song.mp3", chunks(b"song"), 4)),
    ):
        server.fault(call, "lost")
        with pytest.raises(SeparationError) as met:
            await made()
        assert isinstance(met.value, AnswerLost)
