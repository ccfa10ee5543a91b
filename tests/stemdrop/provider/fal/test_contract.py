"""The client beside the stand-in of fal, which was written from fal's documentation alone."""

from collections.abc import AsyncIterator

import httpx
import pytest
from contract_server import ContractServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.environment.server import serve
from stemdrop.domain.jobs import Mode
from stemdrop.errors import AnswerLost, ForgedRequest, Refused
from stemdrop.provider.fal.client import FalClient
from stemdrop.provider.interface import Order


class Bot:
    """Serves the song and keeps the callbacks."""

    def __init__(self, song: bytes) -> None:
        self.song = song
        self.callbacks: list[tuple[dict[str, str], bytes]] = []

    def app(self) -> Starlette:
        routes = [Route("/song.mp3", self._song), Route("/callback", self._callback, methods=["POST"])]
        return Starlette(routes=routes)

    async def _song(self, request: Request) -> Response:
        return Response(self.song, media_type="audio/mpeg")

    async def _callback(self, request: Request) -> Response:
        self.callbacks.append((dict(request.headers), await request.body()))
        return Response()


@pytest.fixture
async def fal() -> AsyncIterator[ContractServer]:
    server = ContractServer("fal")
    server.answers_by_itself = False
    async with server.run():
        yield server


@pytest.fixture
async def client(fal: ContractServer) -> AsyncIterator[FalClient]:
    async with httpx.AsyncClient(trust_env=False) as http:
        yield FalClient(http, fal.url, fal.key)


def order(source: str, callback_url: str = "") -> Order:
    return Order(
        call_id="a", source=source, is_uploaded=False, mode=Mode.SPLIT_STEM, callback_url=callback_url
    )


@pytest.mark.parametrize(("fault", "code"), [("", 200), ("fails_charged", 422), ("fails_refunded", 531)])
async def test_poll_and_callback_tell_the_same(
    fal: ContractServer, client: FalClient, tone: bytes, fault: str, code: int
) -> None:
    if fault:
        fal.fault("create", fault)
    fal.fault("callback", "wrongly_signed")
    bot = Bot(tone)
    async with serve(bot.app()) as url:
        task = await client.create(order(f"{url}/song.mp3", f"{url}/callback"))
        assert (await client.fetch(task)).result is None
        await fal.finish(task)
        polled = (await client.fetch(task)).result
        forged = bot.callbacks.pop(0)
        fal.fault("callback", "twice")
        await fal.finish(task)
    assert polled
    assert (polled.code, fal.charged) == (code, [] if fault == "fails_refunded" else [task])
    names = ["vocals", "drums", "bass", "guitar", "piano", "other"] if code == 200 else []
    assert [stem.key for stem in polled.stems] == names
    with pytest.raises(ForgedRequest):
        await client.read_callback(*forged)
    assert [await client.read_callback(*it) for it in bot.callbacks] == [(task, polled)] * 2


async def test_an_uploaded_song_is_split(fal: ContractServer, client: FalClient, tone: bytes) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield tone

    source = await client.upload("song.mp3", content(), len(tone))
    task = await client.create(order(source))
    await fal.finish(task)
    result = (await client.fetch(task)).result
    assert result
    assert (result.code, {*fal.sources}) == (200, {tone})


async def test_a_song_that_fal_cannot_read(fal: ContractServer, client: FalClient) -> None:
    async with serve(Bot(b"no song").app()) as url:
        task = await client.create(order(f"{url}/song.mp3"))
        await fal.finish(task)
    result = (await client.fetch(task)).result
    assert result
    assert (result.code, fal.charged) == (451, [])


@pytest.mark.parametrize(
    ("fault", "code"),
    [("no_key", 401), ("no_credits", 402), ("busy_with_retry_after", 429), ("maintenance", 455)],
)
async def test_refusals(fal: ContractServer, client: FalClient, fault: str, code: int) -> None:
    fal.fault("create", fault)
    with pytest.raises(Refused) as met:
        await client.create(order(f"{fal.root}/song.mp3"))
    assert (met.value.code, fal.creates) == (code, [])


@pytest.mark.parametrize("fault", ["lost", "server_error"])
async def test_lost_answers(fal: ContractServer, client: FalClient, fault: str) -> None:
    fal.fault("create", fault)
    with pytest.raises(AnswerLost):
        await client.create(order(f"{fal.root}/song.mp3"))
