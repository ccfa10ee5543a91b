"""The client of LALAL.AI against a server that was written from its documentation."""

import asyncio
import math
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
from contract_server import ContractServer

from stemdrop.domain.jobs import INSTRUMENTS, Mode
from stemdrop.domain.results import Result
from stemdrop.errors import AnswerLost, ForgedRequest, Refused, SeparationError, TaskNotTold
from stemdrop.provider.capabilities import CAPABILITIES
from stemdrop.provider.interface import Order
from stemdrop.provider.lalal.client import LalalClient, content_disposition, idempotency_key


@pytest.fixture
async def server(tone: bytes) -> AsyncIterator[ContractServer]:
    async with ContractServer("lalal", tone).run() as running:
        running.answers_by_itself = False
        yield running


@pytest.fixture
async def client(server: ContractServer) -> AsyncIterator[LalalClient]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        yield LalalClient(http, server.url, server.key)


async def upload(client: LalalClient, content: bytes, name: str = "song.mp3", missing: int = 0) -> str:
    async def chunks() -> AsyncIterator[bytes]:
        yield content[:100]
        yield content[100:]

    return await client.upload(name, chunks(), len(content) + missing)


async def order(
    client: LalalClient,
    song: bytes,
    mode: Mode = Mode.SEPARATE_VOCAL,
    instrument: str = "",
    call_id: str = "call",
) -> Order:
    source = await upload(client, song)
    return Order(call_id=call_id, source=source, is_uploaded=True, mode=mode, instrument=instrument)


async def result(client: LalalClient, server: ContractServer, task_id: str) -> Result | None:
    await server.finish(task_id)
    return (await client.fetch(task_id)).result


@pytest.mark.parametrize(
    ("mode", "instrument", "keys", "minutes"),
    [
        (Mode.SEPARATE_VOCAL, "", "vocals instrumental", 1),
        (Mode.SPLIT_STEM, "", " ".join(CAPABILITIES["lalal"].abilities.stems(Mode.SPLIT_STEM)), 6),
        (Mode.SPLIT_STEM_ADVANCED, "Drum Kit", "drums drums_rest", 1),
        (Mode.SPLIT_STEM_ADVANCED, "String Section", "strings strings_rest", 1),
    ],
)
async def test_a_song_is_split(
    client: LalalClient,
    server: ContractServer,
    tone: bytes,
    mode: Mode,
    instrument: str,
    keys: str,
    minutes: int,
) -> None:
    task_id = await client.create(await order(client, tone, mode, instrument))
    # its first poll finds it in the queue
    assert [(await client.fetch(task_id)).progress for _ in range(3)] == [0, 30, 60]
    done = await result(client, server, task_id)
    assert done
    assert [stem.key for stem in done.stems] == keys.split()
    assert [stem.name for stem in done.stems if stem.is_rest] == ([instrument] if instrument else [])
    # the price is that of the table
    assert dict(CAPABILITIES["lalal"].rates)[mode] == minutes
    job = server.jobs[task_id]
    assert server.contract.cost(job) == pytest.approx(minutes * math.ceil(job.seconds) / 60)
    assert job.order["presets"]["encoder_format"] == "mp3"
    assert 0 < await client.balance() < 100_000


async def test_each_instrument_of_the_table_is_taken(
    client: LalalClient, server: ContractServer, tone: bytes
) -> None:
    ability = CAPABILITIES["lalal"].abilities.modes[Mode.SPLIT_STEM_ADVANCED]
    assert set(ability.instruments) <= set(INSTRUMENTS)
    for number, name in enumerate(ability.instruments):
        await client.create(await order(client, tone, Mode.SPLIT_STEM_ADVANCED, name, str(number)))
    assert len({create["presets"]["stem"] for create in server.creates}) == len(ability.instruments) == 7
    with pytest.raises(Refused) as met:
        await client.create(await order(client, tone, Mode.SPLIT_STEM_ADVANCED, "Kick", "x"))
    assert met.value.code == 422


async def test_a_call_that_is_repeated_orders_once(
    client: LalalClient, server: ContractServer, tone: bytes
) -> None:
    wish = await order(client, tone)
    server.fault("create", "lost")
    with pytest.raises(AnswerLost):
        await client.create(wish)
    assert await client.create(wish) == server.task_id()
    await server.finish()
    # that the key is used says that the first call was accepted
    with pytest.raises(TaskNotTold):
        await client.create(wish)
    assert len(server.creates) == len(server.charged) == 1
    assert UUID(idempotency_key("call")).version == 4
    assert idempotency_key("call") == idempotency_key("call") != idempotency_key("other")


@pytest.mark.parametrize(
    ("call", "kind", "error", "code"),
    [
        ("create", "no_key", Refused, 403),
        ("create", "no_credits", Refused, 402),
        ("create", "busy", Refused, 429),
        ("create", "used_key", TaskNotTold, 0),
        ("create", "server_error", AnswerLost, 0),
        ("create", "maintenance", AnswerLost, 0),
        ("status", "busy", Refused, 429),
        ("status", "server_error", AnswerLost, 0),
        ("status", "lost", AnswerLost, 0),
        ("upload", "no_key", Refused, 403),
        ("upload", "lost", AnswerLost, 0),
        ("balance", "no_key", Refused, 403),
        ("balance", "maintenance", AnswerLost, 0),
    ],
)
async def test_a_fault_of_each_call(
    client: LalalClient,
    server: ContractServer,
    tone: bytes,
    call: str,
    kind: str,
    error: type[SeparationError],
    code: int,
) -> None:
    wish = await order(client, tone)
    server.fault(call, kind)
    calls = {
        "create": lambda: client.create(wish),
        "status": lambda: client.fetch("8cad7e3d-a5a3-4e79-9463-59cd4da16977"),
        "upload": lambda: upload(client, tone),
        "balance": client.balance,
    }
    with pytest.raises(error) as met:
        await calls[call]()
    assert getattr(met.value, "code", 0) == code
    assert server.key not in f"{met.value!r}"
    assert server.creates == []


async def test_a_busy_server_may_name_a_pause(
    client: LalalClient, server: ContractServer, tone: bytes
) -> None:
    server.fault("create", "busy_with_retry_after")
    with pytest.raises(Refused) as met:
        await client.create(await order(client, tone))
    assert met.value.retry_after_s == 45


async def test_a_wrong_key_a_source_that_is_gone_and_an_unknown_task(
    client: LalalClient, server: ContractServer, tone: bytes
) -> None:
    wish = await order(client, tone)
    server.uploads.clear()
    with pytest.raises(Refused) as met:
        await client.create(wish)
    assert met.value.code == 451
    with pytest.raises(Refused, match="Failed to extract"):
        await client.fetch("8cad7e3d-a5a3-4e79-9463-59cd4da16977")
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        with pytest.raises(Refused) as met:
            await LalalClient(http, server.url, "wrong-key").balance()
    assert met.value.code == 403


async def test_failed_tasks(client: LalalClient, server: ContractServer, tone: bytes) -> None:
    codes = []
    for kind in ("fails_charged", "fails_refunded"):
        server.fault("create", kind)
        task_id = await client.create(await order(client, tone, call_id=kind))
        failed = await result(client, server, task_id)
        codes.append(failed and failed.code)
    assert codes == [501, 451]


async def test_tasks_are_polled_together(client: LalalClient, server: ContractServer, tone: bytes) -> None:
    tasks = [await client.create(await order(client, tone, call_id=name)) for name in "abc"]
    reports = await asyncio.gather(*map(client.fetch, tasks))
    assert [report.progress for report in reports] == [0, 0, 0]
    assert server.calls.count("status") == 1


@pytest.mark.parametrize(
    "name", ["song.mp3", 'a "b" \\ c%41.mp3', "\U0001f3b5 Ночь.mp3", "a\r\nX-Key: 1.mp3"]
)
async def test_file_names_of_any_characters(
    client: LalalClient, server: ContractServer, tone: bytes, name: str
) -> None:
    assert await upload(client, tone, name) in server.uploads
    header = content_disposition(name)
    assert header.isascii()
    assert header.isprintable()


async def test_a_song_of_another_length_is_not_taken(client: LalalClient, tone: bytes) -> None:
    with pytest.raises(AnswerLost):
        await upload(client, tone, missing=1)


async def test_there_are_no_callbacks(client: LalalClient) -> None:
    with pytest.raises(ForgedRequest):
        await client.read_callback({}, b"{}")


async def test_a_long_explanation_shows_no_part_of_the_key() -> None:
    def explain(request: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json={"detail": "x" * 190 + request.headers["X-License-Key"]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(explain)) as http:
        with pytest.raises(Refused) as met:
            await LalalClient(http, "https://lalal.example", "the-license-key").balance()
    assert "the-lic" not in str(met.value)
