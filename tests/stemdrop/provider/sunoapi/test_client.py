"""Failed calls of the API: refused, never sent, or perhaps accepted.

The other side is the test provider, a server with one fault, or one odd answer.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from provider import KEY, Provider
from redis.asyncio import Redis

from sandbox.environment.server import serve
from separator import create_request
from stemdrop.domain.jobs import Mode
from stemdrop.errors import AnswerLost, BadContract, Refused, SeparationError, Unreachable
from stemdrop.observability.metric_definitions import LAST_TRY
from stemdrop.provider.http_calls import MAX_ANSWER_BYTES
from stemdrop.provider.interface import Order
from stemdrop.provider.sunoapi.client import SeparationClient
from stemdrop.storage.counters import Counters

CALLBACK = "https://bot.example.com/callback/token"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
def client(http: httpx.AsyncClient, provider: Provider) -> SeparationClient:
    provider.fetches_source = provider.answers_by_itself = False
    return SeparationClient(http, provider.url, provider.url, KEY)


def order(mode: Mode = Mode.SEPARATE_VOCAL, instrument: str = "", **options: Any) -> Order:
    source = "https://bot.example.com/source/t/audio.mp3"
    known = {"call_id": "call", "source": source, "is_uploaded": False, "callback_url": CALLBACK}
    return Order(mode=mode, instrument=instrument, **{**known, **options})


async def create(client: SeparationClient, mode: Mode = Mode.SEPARATE_VOCAL, instrument: str = "") -> str:
    return await client.create(order(mode, instrument))


async def upload(client: SeparationClient, content: bytes = b"song", name: str = "song.mp3") -> str:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]

    return await client.upload(name, chunks(), len(content))


CALLS: dict[str, Callable[[SeparationClient], Awaitable[object]]] = {
    "create": create,
    "detail": lambda client: client.fetch("task"),
    "credits": lambda client: client.balance(),
    "upload": upload,
}


# What is asked


@pytest.mark.parametrize("mode", [Mode.SEPARATE_VOCAL, Mode.SPLIT_STEM])
async def test_create(client: SeparationClient, provider: Provider, mode: Mode) -> None:
    assert await create(client, mode, "ignored") == "task-0001"
    assert provider.creates == [
        {
            "audioUrl": "https://bot.example.com/source/t/audio.mp3",
            "type": mode.value,
            "callBackUrl": CALLBACK,
            "taskId": "task-0001",
        }
    ]


async def test_the_format_is_named_to_our_own_separator_only(
    client: SeparationClient, provider: Provider
) -> None:
    provider.abilities = {"formats": ["mp3", "flac"]}
    wanted = order(Mode.SPLIT_STEM, file_format="flac", max_file_bytes=7)
    await client.create(wanted)
    body = provider.creates[0]
    del body["taskId"]
    understood = create_request.read(body, ["vocals"])
    assert (understood.file_format, understood.max_file_bytes) == ("flac", 7)
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"code": 200, "data": {"taskId": "task-1"}})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        await SeparationClient(http, "https://api.sunoapi.org", "", KEY).create(wanted)
    assert set(bodies[0]) == {"audioUrl", "type", "callBackUrl"}


async def test_create_for_one_instrument(client: SeparationClient, provider: Provider) -> None:
    await create(client, Mode.SPLIT_STEM_ADVANCED, "Lead Vocal")
    assert provider.creates[0]["stemName"] == "Lead Vocal"


async def test_detail(client: SeparationClient, provider: Provider) -> None:
    task = await create(client)
    assert (await client.fetch(task)).result is None
    provider.details[task] = {"successFlag": "SUCCESS", "response": {"vocalUrl": provider.stem_url("vocal")}}
    result = (await client.fetch(task)).result
    assert result
    assert [stem.url for stem in result.stems] == [provider.stem_url("vocal")]


@pytest.mark.parametrize("task_id", ["a b&c=d", "a/../b", "ä%41?#"])
async def test_a_task_id_is_quoted_in_the_url(
    client: SeparationClient, provider: Provider, task_id: str
) -> None:
    provider.details[task_id] = {"successFlag": "SUCCESS", "response": None}
    assert (await client.fetch(task_id)).result


async def test_credits(client: SeparationClient) -> None:
    assert await client.balance() == 1000


@pytest.mark.parametrize(
    "name",
    [
        *("song.mp3", "歌 曲 (🎵).flac", "100%.mp3", "a&b=c;d+e.mp3", "x" * 200 + ".mp3"),
    ],
)
async def test_upload_streams_exact_bytes(client: SeparationClient, provider: Provider, name: str) -> None:
    content = bytes(range(256)) * 400 + b"\r\n--boundary--\r\n"
    await upload(client, content, name)
    assert provider.uploads == {name: content}


@pytest.mark.parametrize(
    "name", ['a".mp3', 'a"; filename="b.mp3', 'a"\r\nX-Evil: 1\r\n\r\nb.mp3', "a\nb.mp3", "a\\.mp3"]
)
async def test_a_name_cannot_break_the_form(http: httpx.AsyncClient, name: str) -> None:
    """Three parts arrive for any name, and the file is unchanged."""
    seen: list[list[tuple[str, object]]] = []
    app = FastAPI()

    @app.post("/api/file-stream-upload")
    async def take(request: Request) -> Response:
        async with request.form() as form:
            file = form["file"]
            assert not isinstance(file, str)
            seen.append([*((key, form[key]) for key in form if key != "file"), ("file", await file.read())])
            assert set(file.headers) <= {"content-disposition", "content-type"}
        return JSONResponse({"code": 200, "data": {"downloadUrl": "https://files.example.com/x"}})

    async with serve(app) as url:
        await upload(SeparationClient(http, url, url, KEY), b"bytes", name)
    assert [key for key, _ in seen[0]] == ["uploadPath", "fileName", "file"]
    assert dict(seen[0])["file"] == b"bytes"


async def test_a_song_cannot_break_the_form(http: httpx.AsyncClient) -> None:
    """The boundary differs for each upload, so that no file can contain it."""
    bodies: list[bytes] = []

    def take(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return httpx.Response(200, json={"code": 200, "data": {"downloadUrl": "https://files.example.com/x"}})

    async with answering(take) as client:
        for _ in range(2):
            await upload(client)
    assert bodies[0].split(b"\r\n")[0] != bodies[1].split(b"\r\n")[0]


async def test_an_upload_declares_its_length_and_type(client: SeparationClient, provider: Provider) -> None:
    url = await upload(client)
    assert url == f"{provider.url}/uploads/song.mp3"
    request = provider.requests[-1]
    assert "'content-length': '" in request
    assert "transfer-encoding" not in request
    assert "multipart/form-data; boundary=" in request


async def test_a_source_that_breaks_off_is_passed_on(client: SeparationClient, provider: Provider) -> None:
    async def breaks_off() -> AsyncIterator[bytes]:
        yield b"half"
        raise LookupError("the source broke off")

    with pytest.raises(LookupError):
        await client.upload("song.mp3", breaks_off(), 8)
    assert provider.uploads == {}


@pytest.mark.parametrize("said", [0, 3, 5, 8])
async def test_a_source_of_another_length_than_declared_is_refused(
    client: SeparationClient, provider: Provider, said: int
) -> None:
    async def four() -> AsyncIterator[bytes]:
        yield b"ha"
        yield b"lf"

    with pytest.raises(AnswerLost):
        await client.upload("song.mp3", four(), said)
    assert provider.uploads == {}


# What is refused


@pytest.mark.parametrize("code", [400, 408, 429, 500])
@pytest.mark.parametrize("http_status", [200, 0])
async def test_a_refusal_has_its_code(code: int, http_status: int) -> None:
    """The HTTP status is 200 or the code itself."""
    body, headers = {"code": code, "msg": "because", "data": None}, {"Retry-After": "7"}
    answer = httpx.Response(http_status or code, json=body, headers=headers)
    async with answering(lambda request: answer) as client:
        with pytest.raises(Refused, match="because") as met:
            await create(client)
    assert (met.value.code, met.value.retry_after_s) == (code, 7)


async def test_a_refusal_by_the_provider(client: SeparationClient, provider: Provider) -> None:
    provider.refusal = (402, "not enough credits")
    with pytest.raises(Refused) as met:
        await create(client)
    assert met.value.code == 402


@pytest.mark.parametrize("call", ["create", "detail", "upload"])
async def test_a_wrong_key_is_refused_and_not_told(
    http: httpx.AsyncClient, provider: Provider, call: str
) -> None:
    with pytest.raises(Refused) as met:
        await CALLS[call](SeparationClient(http, provider.url, provider.url, "wrong-secret-key"))
    assert met.value.code == 401
    assert_secret_stays(met.value, "wrong-secret-key")


@pytest.mark.parametrize("status", [400, 407, 409, 451])
async def test_a_4xx_without_contract_is_a_refusal(status: int) -> None:
    answer = httpx.Response(status, text="<html>no</html>", headers={"Retry-After": "7"})
    async with answering(lambda request: answer) as client:
        with pytest.raises(Refused) as met:
            await create(client)
    assert (met.value.code, met.value.retry_after_s) == (status, 7)


BODIES = (
    *(b"", b"<html>bad gateway</html>", b"null", b"[]", b"17", b'"code"', b"{}", b"\xff\xfe", b'{"code":'),
    *(b'{"code": null}', b'{"code": true}', b'{"code": "200"}', b'{"code": [200]}', b'{"code": 200.0}'),
    *(b"[" * 100_000, b"9" * 5000, b'{"msg": "success"}'),
)


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, body) for body in BODIES] + [(status, BODIES[1]) for status in (204, 302, 408, 500, 524)],
    ids=lambda value: repr(value)[:20],
)
async def test_an_answer_without_the_contract_is_lost(status: int, body: bytes) -> None:
    async with answering(lambda request: httpx.Response(status, content=body)) as client:
        with pytest.raises(AnswerLost):
            await create(client)


@pytest.mark.parametrize("status", [302, 500, 502, 504])
async def test_a_success_under_an_http_error_is_no_refusal(status: int) -> None:
    """It may have been accepted and charged."""
    answer = httpx.Response(status, json={"code": 200, "msg": "success", "data": {"taskId": "t"}})
    async with answering(lambda request: answer) as client:
        with pytest.raises(AnswerLost):
            await create(client)


@pytest.mark.parametrize(
    "data", [None, {}, [], "", 17, {"taskId": None}, {"taskId": ""}, {"taskId": 17}, {"task": "t"}]
)
async def test_an_acceptance_without_a_task_id_is_a_lost_answer(data: object) -> None:
    async with answering(lambda request: httpx.Response(200, json={"code": 200, "data": data})) as client:
        with pytest.raises(AnswerLost):
            await create(client)
        with pytest.raises(AnswerLost):
            await upload(client)


@pytest.mark.parametrize("data", [None, {}, [], "", "many", "nan", True, {"credits": 100}])
async def test_credits_that_are_no_number_break_the_contract(data: object) -> None:
    async with answering(lambda request: httpx.Response(200, json={"code": 200, "data": data})) as client:
        with pytest.raises(BadContract):
            await client.balance()


@pytest.mark.parametrize("data", ["NaN", "-Infinity", "1e400"])
async def test_credits_without_end_break_the_contract(data: str) -> None:
    body = f'{{"code": 200, "data": {data}}}'
    async with answering(lambda request: httpx.Response(200, text=body)) as client:
        with pytest.raises(BadContract):
            await client.balance()


@pytest.mark.parametrize("data", [None, [], "x", {}, {"successFlag": "DONE"}])
async def test_details_of_another_shape_break_the_contract(data: object) -> None:
    async with answering(lambda request: httpx.Response(200, json={"code": 200, "data": data})) as client:
        with pytest.raises(BadContract):
            await client.fetch("task")


@pytest.mark.parametrize(
    "message", [None, 17, [], {"a": 1}, "x" * 100_000, "\ud800", f"bad key {KEY}", f"Bearer {KEY}"]
)
async def test_a_refusals_message_is_short_text_without_the_key(message: object) -> None:
    content = json.dumps({"code": 401, "msg": message})
    async with answering(lambda request: httpx.Response(200, content=content)) as client:
        with pytest.raises(Refused) as met:
            await create(client)
    assert len(str(met.value)) < 300
    assert_secret_stays(met.value, KEY)


# What gets lost


@pytest.mark.parametrize("call", ["create", "upload"])
@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
async def test_a_failure_before_sending_is_unreachable(call: str, error: type[httpx.TransportError]) -> None:
    async with failing(error) as client:
        with pytest.raises(Unreachable) as met:
            await CALLS[call](client)
    assert_secret_stays(met.value, KEY)


@pytest.mark.parametrize("call", ["create", "upload"])
@pytest.mark.parametrize(
    "error",
    [
        *(httpx.ReadTimeout, httpx.WriteTimeout, httpx.ReadError, httpx.WriteError, httpx.CloseError),
        *(httpx.RemoteProtocolError, httpx.LocalProtocolError, httpx.DecodingError),
    ],
)
async def test_a_failure_after_sending_is_a_lost_answer(call: str, error: type[httpx.RequestError]) -> None:
    async with failing(error) as client:
        with pytest.raises(AnswerLost) as met:
            await CALLS[call](client)
    assert_secret_stays(met.value, KEY)


@pytest.mark.parametrize("call", CALLS)
async def test_a_closed_port_is_unreachable(http: httpx.AsyncClient, call: str) -> None:
    with (
        socket.socket() as taken
    ):  # bound and not listening: connections are refused and no other process can take the port
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unreachable):
            await CALLS[call](SeparationClient(http, url, url, KEY))


async def no_json(request: Request) -> Response:
    return Response("<html>bad gateway</html>", 502)


async def half_a_body(request: Request) -> Response:
    async def half() -> AsyncIterator[bytes]:
        yield b'{"code": 200, "data": {"task'

    return StreamingResponse(half(), headers={"Content-Length": "1000"})


async def too_long(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 65536

    return StreamingResponse(chunks())


async def broken_gzip(request: Request) -> Response:
    return Response(b"this is no gzip", headers={"Content-Encoding": "gzip"})


async def bomb(request: Request) -> Response:
    import gzip

    return Response(gzip.compress(bytes(MAX_ANSWER_BYTES * 4)), headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize("misbehaviour", [no_json, half_a_body, too_long, broken_gzip, bomb])
@pytest.mark.filterwarnings("ignore")
async def test_a_broken_response_is_a_lost_answer(
    http: httpx.AsyncClient, misbehaviour: Callable[[Request], Awaitable[Response]]
) -> None:
    app = FastAPI()
    app.add_route("/{path:path}", misbehaviour, methods=["GET", "POST"])
    async with serve(app) as url:
        with pytest.raises(AnswerLost):
            await create(SeparationClient(http, url, url, KEY))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
        b"\x00\xff\r\n\r\n",
        b"SSH-2.0-x\r\n",
    ],
)
@pytest.mark.parametrize("call", ["create", "upload"])
async def test_a_connection_that_ends_after_the_request_is_a_lost_answer(
    http: httpx.AsyncClient, call: str, answer: bytes
) -> None:
    async with raw_server(answer) as url:
        with pytest.raises(AnswerLost):
            await CALLS[call](SeparationClient(http, url, url, KEY))


async def test_a_redirect_is_not_followed_with_the_key(http: httpx.AsyncClient, provider: Provider) -> None:
    answer = f"HTTP/1.1 307 x\r\nLocation: {provider.url}/api/v1/generate/credit\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(answer.encode()) as url:
        with pytest.raises(SeparationError):
            await SeparationClient(http, url, url, KEY).balance()
    assert provider.requests == []


@asynccontextmanager
async def answering(answer: Callable[[httpx.Request], httpx.Response]) -> AsyncIterator[SeparationClient]:
    """Build a client whose server gives this answer."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), verify=False) as http:
        yield SeparationClient(http, "https://api.example.com", "https://up.example.com", KEY)


@asynccontextmanager
async def failing(error: type[httpx.RequestError]) -> AsyncIterator[SeparationClient]:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error(f"failed at {request.headers['authorization']}", request=request)

    async with answering(fail) as client:
        yield client


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[str]:
    """Serve a whole request with these bytes and close."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
        await reader.readexactly(int(length or 0))
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def assert_secret_stays(error: BaseException, secret: str) -> None:
    assert secret not in str(error)
    assert secret not in repr(error)


async def test_whether_the_api_was_reached_is_noted(
    http: httpx.AsyncClient, provider: Provider, redis: Redis
) -> None:
    """A refusal is an answer."""
    now, noted = 100.0, []
    for url, key in ((provider.url, "wrong key"), ("http://127.0.0.1:9", KEY)):
        counters = Counters(redis, partial(float, now))
        with suppress(SeparationError):
            await SeparationClient(http, url, url, key, counters).balance()
        await counters.write()
        found = await counters.all()
        noted.append([found.get(LAST_TRY.field("api", how)) for how in ("reached", "failed")])
        now += 10
    assert noted == [[100, None], [100, 110]]
