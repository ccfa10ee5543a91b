"""The stand-in of the providers refuses what their documentation says that they refuse."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from contract_server import ContractServer
from nacl.signing import VerifyKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.environment.server import serve

SOURCE = str(uuid4())
ONE_STEM = {"source_id": SOURCE, "presets": {"stem": "vocals"}}
JOB = {"sourceUrl": "http://127.0.0.1:9/song.mp3"}
LALAL_CREATE, FAL_CREATE = "/split/stem_separator/", "/fal-ai/demucs"


class Listener:
    """Serves a song and takes callbacks."""

    def __init__(self, song: bytes) -> None:
        self.song = song
        self.callbacks: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()

    async def __call__(self, request: Request) -> Response:
        if request.method == "POST":
            self.callbacks.put_nowait((dict(request.headers), await request.body()))
        return Response(self.song)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
async def listener(tone: bytes) -> AsyncIterator[tuple[Listener, str]]:
    listening = Listener(tone)
    app = Starlette(routes=[Route("/", listening.__call__, methods=["GET", "POST"])])
    async with serve(app) as url:
        yield listening, url


def _authorized(server: ContractServer, **headers: str) -> dict[str, str]:
    return {server.contract.header: server.contract.scheme + server.key, **headers}


@pytest.mark.parametrize(
    ("name", "path", "status"),
    [("stemsplit", "/jobs", 401), ("lalal", LALAL_CREATE, 403), ("fal", FAL_CREATE, 401)],
)
async def test_a_call_without_the_key_is_refused(
    http: httpx.AsyncClient, name: str, path: str, status: int
) -> None:
    async with ContractServer(name).run() as server:
        assert (await http.post(server.url + path, json=JOB)).status_code == status
        headers = {server.contract.header: f"{server.contract.scheme}other"}
        assert (await http.post(server.url + path, json=JOB, headers=headers)).status_code == status
        server.fault("create", "no_credits")
        assert (await http.post(server.url + path, json=JOB, headers=_authorized(server))).is_client_error
        assert (server.creates, server.charged) == ([], [])


@pytest.mark.parametrize(
    ("name", "path", "body", "status"),
    [
        ("stemsplit", "/jobs", {}, 400),  # no source
        ("stemsplit", "/jobs", {**JOB, "uploadKey": "uploads/a"}, 400),
        ("stemsplit", "/jobs", {"uploadKey": "uploads/a"}, 400),
        ("stemsplit", "/jobs", {**JOB, "outputType": "DRUMS"}, 400),
        ("stemsplit", "/jobs", {**JOB, "stems": ["vocals"]}, 400),
        ("stemsplit", "/upload", {"filename": "song.txt"}, 400),
        ("lalal", LALAL_CREATE, ONE_STEM, 400),  # nothing was uploaded
        ("lalal", LALAL_CREATE, {**ONE_STEM, "idempotency_key": "job-1"}, 422),
        ("lalal", LALAL_CREATE, {**ONE_STEM, "presets": {"stem": "drums"}}, 422),
        ("lalal", "/split/multistem/", {**ONE_STEM, "presets": {"stem_list": []}}, 422),
        ("lalal", "/check/", {"task_ids": [SOURCE] * 201}, 422),
        ("lalal", "/upload/", {}, 422),  # no Content-Disposition
        ("fal", f"{FAL_CREATE}?fal_webhook=here", {"audio_url": JOB["sourceUrl"]}, 422),
    ],
)
async def test_a_call_against_the_documentation_is_refused(
    http: httpx.AsyncClient, name: str, path: str, body: dict[str, Any], status: int
) -> None:
    async with ContractServer(name).run() as server:
        answer = await http.post(server.url + path, json=body, headers=_authorized(server))
        assert answer.status_code == status
        assert server.creates == []


async def test_stemsplits_storage_takes_no_second_authorization_and_jobs_are_ordered_once_by_key(
    http: httpx.AsyncClient, tone: bytes
) -> None:
    async with ContractServer("stemsplit", b"a stem").run() as server:
        headers = _authorized(server, **{"Idempotency-Key": "one"})
        ticket = (await http.post(f"{server.url}/upload", json={"filename": "a.mp3"}, headers=headers)).json()
        kind, url = {"Content-Type": "audio/mpeg"}, ticket["uploadUrl"]
        assert (await http.put(url, content=tone, headers=headers | kind)).status_code == 400
        assert (await http.put(url, content=tone)).status_code == 403
        assert (await http.put(url, content=tone, headers=kind)).status_code == 200
        server.answers_by_itself = False
        body = {"uploadKey": ticket["uploadKey"]}
        jobs = [await http.post(f"{server.url}/jobs", json=body, headers=headers) for _ in range(2)]
        assert [job.status_code for job in jobs] == [201, 201]
        assert jobs[0].json()["id"] == jobs[1].json()["id"] == server.task_id()
        body["outputType"] = "SIX_STEMS"
        assert (await http.post(f"{server.url}/jobs", json=body, headers=headers)).status_code == 409
        job_url = f"{server.url}/jobs/{server.task_id()}"
        progress = [(await http.get(job_url, headers=headers)).json()["progress"] for _ in range(3)]
        assert progress == [0, 30, 60]
        await server.finish()
        assert server.charged == [server.task_id()]
        link = (await http.get(job_url, headers=headers)).json()["outputs"]["vocals"]["url"]
        server.fault("stem", "expired_link")
        assert [(await http.get(link)).status_code for _ in range(2)] == [403, 403]
        renewed = (await http.get(job_url, headers=headers)).json()["outputs"]["vocals"]["url"]
        assert (await http.get(renewed)).content == b"a stem"


async def test_a_key_of_lalal_is_used_up_when_its_task_has_started(
    http: httpx.AsyncClient, tone: bytes
) -> None:
    async with ContractServer("lalal").run() as server:
        headers = _authorized(server)
        named = headers | {"Content-Disposition": "attachment; filename*=utf-8''%C3%A4.mp3"}
        uploaded = await http.post(f"{server.url}/upload/", content=tone, headers=named)
        assert (uploaded.json()["name"], uploaded.json()["duration"]) == ("ä.mp3", 1)
        inline = headers | {"Content-Disposition": "inline"}
        assert (await http.post(f"{server.url}/upload/", content=tone, headers=inline)).status_code == 400
        server.answers_by_itself = False
        server.fault("create", "lost")
        body = {**ONE_STEM, "source_id": uploaded.json()["id"], "idempotency_key": str(uuid4())}
        answers = [await http.post(server.url + LALAL_CREATE, json=body, headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [502, 200]
        assert answers[1].json() == {"task_id": server.task_id()}
        await server.finish()
        again = await http.post(server.url + LALAL_CREATE, json=body, headers=headers)
        assert (again.status_code, again.json()["code"]) == (400, "idempotency_key_used")
        checked = await http.post(
            f"{server.url}/check/", json={"task_ids": [server.task_id()]}, headers=headers
        )
        told = checked.json()["result"][server.task_id()]
        assert [(track["type"], track["label"]) for track in told["result"]["tracks"]] == [
            ("stem", "vocals"),
            ("back", "no_vocals"),
        ]
        assert len(server.creates) == len(server.charged) == 1


async def test_sources_are_fetched_and_callbacks_of_stemsplit_are_signed(
    http: httpx.AsyncClient, listener: tuple[Listener, str]
) -> None:
    listening, url = listener
    async with ContractServer("stemsplit").run() as server:
        body = {"sourceUrl": url, "callbackUrl": url}
        await http.post(f"{server.url}/jobs", json=body, headers=_authorized(server))
        headers, raw = await listening.callbacks.get()
        digest = hmac.new(server.secret.encode(), raw, hashlib.sha256).hexdigest()
        assert headers["x-webhook-signature"] == f"sha256={digest}"
        assert server.sources == [listening.song]


async def test_fal_fetches_what_was_uploaded_and_charges_no_error_of_its_own(
    http: httpx.AsyncClient, tone: bytes
) -> None:
    async with ContractServer("fal").run() as server:
        headers, kind = _authorized(server), {"Content-Type": "audio/mpeg"}
        named = {"file_name": "a.mp3", "content_type": "audio/mpeg"}
        ticket = (
            await http.post(f"{server.url}/storage/upload/initiate", json=named, headers=headers)
        ).json()
        assert (await http.put(ticket["upload_url"], content=tone, headers=kind)).status_code == 200
        server.fault("create", "fails_refunded")
        body = {"audio_url": ticket["file_url"]}
        task = (await http.post(server.url + FAL_CREATE, json=body, headers=headers)).json()
        while (await http.get(task["status_url"], headers=headers)).status_code == 202:
            pass
        assert (await http.get(task["response_url"], headers=headers)).status_code == 500
        assert (server.sources, server.charged) == ([tone], [])


async def test_fal_tells_later_what_the_model_refuses_and_signs_it(
    http: httpx.AsyncClient, listener: tuple[Listener, str]
) -> None:
    listening, url = listener
    async with ContractServer("fal").run() as server:
        answer = await http.post(
            f"{server.url}/fal-ai/demucs",
            params={"fal_webhook": url},
            json={"audio_url": url, "model": "spleeter"},
            headers=_authorized(server),
        )
        assert answer.status_code == 200
        headers, raw = await listening.callbacks.get()
        assert b'"status": "ERROR"' in raw
        assert b"Invalid status code: 422" in raw
        names = ("x-fal-webhook-request-id", "x-fal-webhook-user-id", "x-fal-webhook-timestamp")
        message = "\n".join([*(headers[name] for name in names), hashlib.sha256(raw).hexdigest()])
        keys = (await http.get(f"{server.url}/.well-known/jwks.json")).json()["keys"]
        key = VerifyKey(base64.urlsafe_b64decode(keys[-1]["x"] + "="))
        key.verify(message.encode(), bytes.fromhex(headers["x-fal-webhook-signature"]))
        assert (len(server.creates), server.charged) == (1, [])
