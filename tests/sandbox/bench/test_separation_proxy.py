"""The bench between stemdrop and the separation API: everything passes, is recorded, and fails when asked."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.bench import relay
from sandbox.bench.bench import Bench, bench_between
from sandbox.bench.records import RecordKind
from sandbox.bench.separation_faults import SeparationFault, SeparationFaultKind
from sandbox.environment.ports import free_port
from sandbox.environment.server import serve
from sandbox.telegram.app import run_telegram
from sandbox.telegram.person_actions import Telegram

JOB, TASK, KEY = "0123456789abcdef", "task-1", "the-api-key"
PUBLIC = "http://webhook.test"
TOKEN = f"{JOB}.42.aSigned-Token"
CREATE, DETAIL = "separation/api/v1/vocal-removal/generate", "separation/api/v1/vocal-removal/record-info"
CALLBACK = {"code": 200, "msg": "done", "data": {"task_id": TASK, "vocal_removal_info": {"vocal_url": "u"}}}


class Servers:
    """The separator and stemdrop's webhook in one; `seen` is what reached them."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.app = Starlette(
            routes=[
                Route("/api/v1/vocal-removal/generate", self.create, methods=["POST"]),
                Route("/api/v1/vocal-removal/record-info", self.detail),
                Route("/api/file-stream-upload", self.upload, methods=["POST"]),
                Route("/callback/{token}", self.callback, methods=["POST"]),
            ]
        )

    async def create(self, request: Request) -> Response:
        self.seen.append((request.headers["authorization"], await request.json()))
        return JSONResponse({"code": 200, "msg": "success", "data": {"taskId": TASK}})

    async def detail(self, request: Request) -> Response:
        return JSONResponse(
            {"code": 200, "data": {"taskId": request.query_params["taskId"], "successFlag": "SUCCESS"}}
        )

    async def upload(self, request: Request) -> Response:
        self.seen.append(("upload", len(await request.body())))
        return JSONResponse({"code": 200, "data": {"downloadUrl": "http://…/song.mp3"}})

    async def callback(self, request: Request) -> Response:
        self.seen.append((request.path_params["token"], await request.json()))
        return JSONResponse({"status": "received"})


@pytest.fixture
async def servers() -> Servers:
    return Servers()


@pytest.fixture
def bench(tg: Telegram) -> Bench:
    return Bench(tg)


@pytest.fixture
async def url(tg: Telegram, bench: Bench, servers: Servers) -> AsyncIterator[str]:
    async with (
        serve(servers.app) as behind,
        bench.run(),
        run_telegram(tg, with_chat_api=True, bench=bench) as base,
    ):
        bench.separation.target_url = bench.callbacks.target_url = behind
        yield base


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, verify=False) as client:
        yield client


def order() -> dict[str, str]:
    return {"audioUrl": f"{PUBLIC}/source/{TOKEN}/audio.mp3", "callBackUrl": f"{PUBLIC}/callback/{TOKEN}"}


def recorded(tg: Telegram) -> list[tuple[str, int | None, str | None]]:
    return [(record.name, record.status, record.fault) for record in tg.records.after(0)]


async def test_calls_and_callbacks_pass_and_are_shown_in_order_without_secrets(
    http: httpx.AsyncClient, chat: httpx.AsyncClient, servers: Servers, url: str
) -> None:
    created = await http.post(CREATE, json=order())
    assert created.json()["data"] == {"taskId": TASK}
    assert (await http.post(f"callback/{TOKEN}", json=CALLBACK)).json() == {"status": "received"}
    assert (await http.get(DETAIL, params={"taskId": TASK})).json()["data"]["successFlag"] == "SUCCESS"
    big = b"x" * (2 * 1024 * 1024)
    await http.post("separation/api/file-stream-upload", content=big)
    assert (await http.get("separation/files/1/Vocals.mp3")).status_code == 404

    passed = {**order(), "callBackUrl": f"{url}/callback/{TOKEN}"}
    assert servers.seen[0] == (f"Bearer {KEY}", passed)
    assert servers.seen[1:] == [(TOKEN, CALLBACK), ("upload", len(big))]
    shown = (await chat.get("records", params={"timeout": 0})).json()
    lines = [(it["kind"], it["name"], it["status"], it["job_id"], it["task_id"]) for it in shown["records"]]
    assert lines == [
        ("separation", "create", 200, JOB, TASK),
        ("callback", "callback", 200, JOB, TASK),
        ("separation", "detail", 200, "", TASK),
        ("separation", "upload", 200, "", ""),
    ]
    create, callback, _, upload = shown["records"]
    assert create["parameters"]["callBackUrl"] == f"{PUBLIC}/callback/…"
    assert create["answer"] == created.json()
    assert callback["parameters"] == CALLBACK
    assert upload["parameters"] == {"size_bytes": len(big)}
    assert KEY not in json.dumps(shown)
    assert TOKEN not in json.dumps(shown)


async def test_a_call_that_is_refused_or_reset_before_does_not_reach_the_separator(
    http: httpx.AsyncClient, chat: httpx.AsyncClient, servers: Servers, tg: Telegram
) -> None:
    for code in (402, 405, 413, 429, 430, 455, 500, 501, 531):
        for kind, status in (("api_refused", 200), ("api_refused_status", code)):
            added = await chat.post("faults/separation", json={"kind": kind, "code": code})
            assert added.json()["code"] == code
            refused = await http.post(CREATE, json=order())
            assert (refused.status_code, refused.json()["code"], refused.json()["data"]) == (
                status,
                code,
                None,
            )
    assert {record.job_id for record in tg.records.after(0)} == {JOB}
    await chat.post("faults/separation", json={"kind": "api_reset_before"})
    with pytest.raises(httpx.ReadError):
        await http.post(CREATE, json=order())
    assert recorded(tg)[-2:] == [("create", 531, "api_refused_status"), ("create", None, "api_reset_before")]
    assert servers.seen == []
    assert (await http.post(CREATE, json=order())).is_success  # each fault was for one call


async def test_a_call_that_is_slow_or_reset_after_takes_effect(
    http: httpx.AsyncClient, bench: Bench, servers: Servers, tg: Telegram
) -> None:
    bench.faults.put(SeparationFault(kind=SeparationFaultKind.API_SLOW, delay_s=0.01))
    bench.faults.put(SeparationFault(kind=SeparationFaultKind.API_RESET_AFTER))
    await http.get(DETAIL, params={"taskId": TASK})  # they are for create
    assert (await http.post(CREATE, json=order())).is_success
    with pytest.raises(httpx.ReadError):
        await http.post(CREATE, json=order())
    assert len(servers.seen) == 2
    assert recorded(tg)[1:] == [("create", 200, "api_slow"), ("create", None, "api_reset_after")]
    assert tg.records.after(0)[-1].task_id == TASK


async def test_a_callback_is_doubled_or_late_or_never_comes(
    http: httpx.AsyncClient, bench: Bench, servers: Servers, tg: Telegram
) -> None:
    for kind in ("callback_doubled", "callback_never", "callback_late"):
        bench.faults.put(SeparationFault(kind=SeparationFaultKind(kind), delay_s=0.01))
        answer = await http.post(f"callback/{TOKEN}", json=CALLBACK)
        assert answer.json() == {"status": "received"}
    await tg.wait_for(lambda: len(tg.records.after(0)) == 5)
    assert recorded(tg) == [
        *[("callback", 200, "callback_doubled")] * 2,
        ("callback", None, "callback_never"),
        ("callback", None, "callback_late"),
        ("callback", 200, None),
    ]
    assert servers.seen == [(TOKEN, CALLBACK)] * 3


async def test_a_failed_task_has_failed_for_the_detail_endpoint_too(
    http: httpx.AsyncClient, bench: Bench, servers: Servers
) -> None:
    bench.faults.put(SeparationFault(kind=SeparationFaultKind.CALLBACK_FAILED, code=451))
    await http.post(f"callback/{TOKEN}", json=CALLBACK)
    [(_, body)] = servers.seen
    assert (body["code"], body["data"]) == (451, {"task_id": TASK, "vocal_removal_info": None})
    detail = (await http.get(DETAIL, params={"taskId": TASK})).json()["data"]
    assert (detail["successFlag"], detail["errorCode"]) == ("GENERATE_AUDIO_FAILED", 451)
    other = (await http.get(DETAIL, params={"taskId": "task-2"})).json()["data"]
    assert other["successFlag"] == "SUCCESS"


async def test_faults_for_a_while_end_and_all_are_cleared(
    http: httpx.AsyncClient, chat: httpx.AsyncClient, clock: Any
) -> None:
    both = {"times": None, "for_s": 60}
    await chat.post("faults/separation", json={"kind": "api_refused", "code": 455, **both})
    await chat.post("faults", json={"kind": "server_error", **both})
    for _ in range(3):
        assert (await http.post(CREATE, json=order())).json()["code"] == 455
    faults = (await chat.get("faults")).json()
    assert [fault["kind"] for fault in faults["faults"]] == ["server_error", "api_refused"]
    assert set(faults["separation_kinds"]) == set(SeparationFaultKind)
    clock.advance(60)
    assert (await http.post(CREATE, json=order())).json()["code"] == 200
    assert (await chat.get("faults")).json()["faults"] == []
    await chat.post("faults/separation", json={"kind": "callback_never", "times": None})
    await chat.delete("faults")
    assert (await chat.get("faults")).json()["faults"] == []
    wrong = {"kind": "api_refused", "code": 42}
    assert (await chat.post("faults/separation", json=wrong)).status_code == 400


async def test_a_webhook_that_does_not_listen_yet_is_waited_for(
    http: httpx.AsyncClient, bench: Bench, servers: Servers
) -> None:
    port = free_port()
    bench.callbacks.target_url = f"http://127.0.0.1:{port}"
    waiting = asyncio.create_task(http.post(f"callback/{TOKEN}", json=CALLBACK))
    await asyncio.wait([waiting], timeout=0.2)
    async with serve(servers.app, port):
        assert (await waiting).status_code == 200


async def test_servers_that_are_away_are_a_bad_gateway(
    http: httpx.AsyncClient, bench: Bench, tg: Telegram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_PATIENCE_S", 0)
    bench.separation.target_url = bench.callbacks.target_url = "http://127.0.0.1:1"
    assert (await http.post(CREATE, json=order())).status_code == 502
    assert (await http.post(f"callback/{TOKEN}", json=CALLBACK)).status_code == 502
    assert (await http.get("separation/files/1/a.mp3")).status_code == 502
    assert recorded(tg) == [("create", 502, None), ("callback", 502, None)]


def test_the_secret_of_telegrams_webhook_is_not_shown(tg: Telegram) -> None:
    parameters = {"url": "http://webhook.test/telegram", "secret_token": "only-for-telegram"}
    tg.records.add(RecordKind.BOT, "setWebhook", parameters=parameters)
    assert tg.records.after(0)[0].parameters == {**parameters, "secret_token": "…"}


@pytest.mark.parametrize("kind", ["callback", "source"])
def test_the_token_of_a_link_is_not_shown_wherever_it_is(tg: Telegram, kind: str) -> None:
    answer = [{"text": f"see {PUBLIC}/{kind}/{TOKEN}, or not"}]
    tg.records.add(RecordKind.BOT, "sendMessage", answer=answer)
    assert tg.records.after(0)[0].answer == [{"text": f"see {PUBLIC}/{kind}/…, or not"}]


def test_the_memory_of_the_bench_is_bounded(tg: Telegram) -> None:
    for number in range(100):
        tg.records.add(RecordKind.BOT, str(number), parameters={"text": "x" * 200_000})
    tg.records.add(RecordKind.BOT, "last", answer={"text": "x" * 300_000})
    kept = tg.records.after(0)
    assert kept[-1].answer == {"size_bytes": 300_012}
    assert 10_000_000 < sum(len(json.dumps(asdict(record))) for record in kept) < 17_000_000


async def test_the_bench_of_other_processes_is_named_by_variables(tg: Telegram) -> None:
    async with bench_between(tg, {"SANDBOX_SEPARATOR_URL": "http://separator:1"}) as bench:
        assert bench is None
    urls = {"SANDBOX_SEPARATOR_URL": "http://separator:1", "SANDBOX_WEBHOOK_URL": "http://webhook:2"}
    async with bench_between(tg, urls) as bench:
        assert bench is not None
        assert (bench.separation.target_url, bench.callbacks.target_url) == tuple(urls.values())
