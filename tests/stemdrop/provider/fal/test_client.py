"""What fal is asked, and how its answers and refusals are understood. fal's side is a table of answers."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from stemdrop.domain.jobs import Mode
from stemdrop.domain.results import Result, Stem
from stemdrop.errors import AnswerLost, Refused, Unreachable
from stemdrop.provider.fal.client import FalClient
from stemdrop.provider.interface import Order, Report

KEY = "an-id:a-secret-of-fal"
QUEUE = "https://queue.fal.run/fal-ai/demucs"
TASK = f"{QUEUE}/requests/id-1"
SOURCE, CALLBACK = "https://bot.example/source/t/audio.mp3", "https://bot.example/callback/fal/t"
VOCALS, OTHER = "https://v3.fal.media/files/a/v.mp3", "https://v3.fal.media/files/a/o.mp3"
FILES = {
    "other": {"url": OTHER},
    "vocals": {"url": VOCALS, "content_type": "audio/mpeg", "file_name": "v.mp3"},
    "drums": None,
}
IN_QUEUE = {"status": "IN_QUEUE", "queue_position": 2, "response_url": "https://evil.example/"}
COMPLETED = {"status": "COMPLETED", "logs": None, "response_url": "https://evil.example/"}


class Fal:
    """Answers by method and URL, query aside, and keeps the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, httpx.Response | Exception] = {}
        self.requests: list[httpx.Request] = []
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self.client = FalClient(http, "https://queue.fal.run", KEY)

    def says(self, call: str, status: int, body: object, **headers: str) -> None:
        content = body if isinstance(body, str) else json.dumps(body)
        self.answers[call] = httpx.Response(status, content=content.encode(), headers=headers)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        answer = self.answers[f"{request.method} {str(request.url).partition('?')[0]}"]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def fal() -> Fal:
    return Fal()


def order(**changes: Any) -> Order:
    known: dict[str, Any] = {"source": SOURCE, "is_uploaded": False, "callback_url": CALLBACK}
    return Order(call_id="call", mode=Mode.SPLIT_STEM, **{**known, **changes})


def problem(kind: str) -> dict[str, Any]:
    """An error of the model, which repeats what was sent."""
    return {"detail": [{"loc": ["body", "audio_url"], "msg": "no", "type": kind, "input": SOURCE}]}


@pytest.mark.parametrize("callback", [CALLBACK, ""])
async def test_create(fal: Fal, callback: str) -> None:
    fal.says(f"POST {QUEUE}", 200, {"request_id": "id-1", "response_url": "https://evil.example/"})
    assert await fal.client.create(order(callback_url=callback)) == "id-1"
    (request,) = fal.requests
    assert request.headers["Authorization"] == f"Key {KEY}"
    assert dict(request.url.params) == ({"fal_webhook": callback} if callback else {})
    assert json.loads(request.content) == {
        "audio_url": SOURCE,
        "model": "htdemucs_6s",
        "stems": ["vocals", "drums", "bass", "guitar", "piano", "other"],
        "output_format": "mp3",
    }


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, {"detail": "Authentication is required"}, 401),
        (403, {"detail": "User is locked. Reason: Exhausted balance. Top up your balance."}, 402),
        (403, {"detail": "User is locked. Reason: TOP_UP."}, 402),
        (403, {"detail": "User is locked. Reason: Admin lock."}, 403),
        (404, "not found", 404),
        (422, {"detail": "fal_webhook is not a URL"}, 422),
        (422, problem("file_too_large"), 413),
        (422, problem("unsupported_audio_format"), 400),
        (429, {"detail": "Too many requests", "error_type": "concurrent_requests_limit"}, 429),
        (503, {"detail": "no runner", "error_type": "runner_scheduling_failure"}, 455),
    ],
)
async def test_a_refused_order_is_not_accepted(fal: Fal, status: int, body: object, code: int) -> None:
    fal.says(f"POST {QUEUE}", status, body, **{"Retry-After": "45"})
    with pytest.raises(Refused) as met:
        await fal.client.create(order())
    assert (met.value.code, met.value.retry_after_s) == (code, 45)
    assert SOURCE not in str(met.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<html>"),
        (200, {"request_id": None}),
        (200, {"request_id": "a" * 200}),
        (302, {"detail": "elsewhere"}),
        (408, {"detail": "slow"}),
        (500, {"detail": "Internal Server Error", "error_type": "internal_error"}),
        (502, "<html>bad gateway</html>"),
    ],
)
async def test_an_order_without_a_clear_answer_may_be_accepted(fal: Fal, status: int, body: object) -> None:
    fal.says(f"POST {QUEUE}", status, body)
    with pytest.raises(AnswerLost):
        await fal.client.create(order())


async def test_an_order_that_was_not_sent(fal: Fal) -> None:
    fal.answers[f"POST {QUEUE}"] = httpx.ConnectError("no")
    with pytest.raises(Unreachable):
        await fal.client.create(order())


async def test_a_request_is_polled_at_the_known_address(fal: Fal) -> None:
    fal.says(f"GET {TASK}/status", 202, IN_QUEUE)
    assert await fal.client.fetch("id-1") == Report()
    fal.says(f"GET {TASK}/status", 200, COMPLETED)
    fal.says(f"GET {TASK}", 200, FILES)
    stems = (Stem("vocals", VOCALS), Stem("other", OTHER))
    assert await fal.client.fetch("id-1") == Report(Result(200, stems))


async def test_an_output_without_stems_is_described(fal: Fal) -> None:
    fal.says(f"GET {TASK}/status", 200, COMPLETED)
    fal.says(f"GET {TASK}", 200, {"audio": {"url": "https://a.example/a.mp3"}})
    assert (await fal.client.fetch("id-1")).result == Result(200, (), "{audio: {url: URL}}")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (422, problem("file_download_error"), 451),
        (422, problem("audio_duration_too_long"), 413),
        (422, problem("no_media_generated"), 501),
        (422, problem("value_error"), 422),
        (422, {"detail": "plain"}, 422),
        (499, {"detail": "cancelled", "error_type": "client_cancelled"}, 500),
        (500, {"detail": "Internal Server Error", "error_type": "runner_server_error"}, 531),
        (504, problem("generation_timeout"), 531),
        (500, {"detail": "plain"}, 531),
    ],
)
async def test_a_failed_request(fal: Fal, status: int, body: object, code: int) -> None:
    """Server errors are never charged, others may be."""
    fal.says(f"GET {TASK}/status", 200, {**COMPLETED, "error": "failed", "error_type": None})
    fal.says(f"GET {TASK}", status, body)
    assert (await fal.client.fetch("id-1")).result == Result(code)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"detail": "Request is still in progress"}),
        (401, {"detail": "no key"}),
        (403, {"detail": "User is locked. Reason: Exhausted balance."}),
        (404, {"detail": "Request not found"}),
        (429, {"detail": "Too many requests", "error_type": "concurrent_requests_limit"}),
        (500, {"detail": "plain"}),
        (502, "<html>bad gateway</html>"),
    ],
)
async def test_a_poll_that_fails_says_nothing_of_the_request(fal: Fal, status: int, body: object) -> None:
    fal.says(f"GET {TASK}/status", 200, COMPLETED)
    fal.says(f"GET {TASK}", status, body)
    with pytest.raises((Refused, AnswerLost)):
        await fal.client.fetch("id-1")


@pytest.mark.parametrize("body", [{"status": "LOST"}, {}, [], "<html>"])
async def test_an_unknown_status(fal: Fal, body: object) -> None:
    fal.says(f"GET {TASK}/status", 200, body)
    with pytest.raises(AnswerLost):
        await fal.client.fetch("id-1")


INITIATE = "POST https://rest.fal.ai/storage/upload/initiate"
STORAGE = "https://storage.example/a"
UPLOADED = "https://v3.fal.media/files/a/song.mp3"


async def upload(fal: Fal, size_bytes: int = 4) -> str:
    async def song() -> AsyncIterator[bytes]:
        yield b"so"
        yield b"ng"

    return await fal.client.upload("song.mp3", song(), size_bytes)


async def test_an_upload_is_deleted_after_a_day_and_its_storage_gets_no_key(fal: Fal) -> None:
    fal.says(INITIATE, 200, {"upload_url": f"{STORAGE}?signature=a%2Fb", "file_url": UPLOADED})
    fal.says(f"PUT {STORAGE}", 200, "")
    assert await upload(fal) == UPLOADED
    asked, put = fal.requests
    assert json.loads(asked.content) == {"file_name": "song.mp3", "content_type": "audio/mpeg"}
    assert json.loads(asked.headers["X-Fal-Object-Lifecycle"]) == {"expiration_duration_seconds": 86_400}
    assert (str(put.url), put.content) == (f"{STORAGE}?signature=a%2Fb", b"song")
    assert (put.headers["Content-Length"], put.headers["Content-Type"]) == ("4", "audio/mpeg")
    assert "Authorization" not in put.headers


async def test_a_failed_upload_may_be_repeated(fal: Fal) -> None:
    links = {"upload_url": STORAGE, "file_url": UPLOADED}
    fal.says(INITIATE, 200, links)
    fal.says(f"PUT {STORAGE}", 403, "expired")
    for size_bytes in (4, 5):  # 5: another length than the song's
        with pytest.raises(AnswerLost):
            await upload(fal, size_bytes)
    odd = ("file:///etc/passwd", "http://storage.example/a", "https://10.0.0.1/a", "https://[", None)
    for body in (*({**links, "upload_url": it} for it in odd), {**links, "file_url": None}):
        fal.says(INITIATE, 200, body)
        with pytest.raises(AnswerLost):
            await upload(fal)
    fal.says(INITIATE, 403, {"detail": "User is locked. Reason: TOP_UP."})
    with pytest.raises(Refused, match="402"):
        await upload(fal)


async def test_no_exception_has_the_key(fal: Fal) -> None:
    for status in (403, 422, 500):
        fal.says(f"POST {QUEUE}", status, {"detail": f"what is Key {KEY}?", "error_type": "bad"})
        with pytest.raises((Refused, AnswerLost)) as met:
            await fal.client.create(order())
        assert KEY not in f"{met.value!r} {met.value} {vars(met.value)} {fal.client!r} {vars(fal.client)}"
