"""A song's whole way with several separation providers, each played by its own documentation."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
import pytest_asyncio
from contract_server import CONTRACTS, ContractServer
from deployment import Deployment, open_deployment
from provider import KEY
from tones import mp3

from sandbox.telegram.chats import Message
from stemdrop.storage.circuits import Circuits
from stemdrop.storage.connection import connect
from stemdrop.storage.create_calls import CallOutcome, CreateCall, CreateCalls

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDER = ("stemsplit", "lalal", "fal", "selfhosted")
# no provider is dearer than those before it, so that it may take their songs
PRICES = {
    "STEMSPLIT_CREDITS_PER_MINUTE": "600",
    "LALAL_CREDITS_PER_MINUTE": "60",
    "FAL_CREDITS_PER_MINUTE": "300",
}
VOCALS, ALL_STEMS = "Vocals + instrumental", "All stems"
SIX = {"Vocals", "Drums", "Bass", "Guitar", "Piano", "Other"}
# LALAL.AI splits the guitars in two
GUITARS = {*SIX, "Acoustic guitar", "Electric guitar"} - {"Guitar"}
SUCCEEDED, REFUSED, REFUNDED = CallOutcome.SUCCEEDED, CallOutcome.REFUSED, CallOutcome.REFUNDED


@dataclass
class Stage:
    """The product, which asks the providers in `ORDER`, and the three that have a contract of their own."""

    deployment: Deployment
    servers: dict[str, ContractServer]
    began_at: float = 0
    has_public_url: bool | None = None  # of the process that runs

    async def open(self, *, has_public_url: bool = True) -> None:
        """Begin a story with a process that has a public URL or none, which may be the last story's."""
        deployment = self.deployment
        deployment.begin()
        for server in self.servers.values():
            server.clear()
        deployment.provider.abilities = {"modes": {"split_stem": {"credits": 0, "stems": ["vocals"]}}}
        deployment.provider.remembers = deployment.provider.few_stems = True
        async with connect(deployment.redis_url) as redis:
            for name in ORDER:
                await Circuits(redis).succeeded(name)
        self.began_at = time.time()
        if has_public_url is not self.has_public_url:
            for process in deployment.processes:
                await process.stop()
            deployment.settings = self._settings() | ({} if has_public_url else {"PUBLIC_URL": ""})
            self.has_public_url = has_public_url
            await deployment.start("up")

    def _settings(self) -> dict[str, str]:
        settings = {"PROVIDERS": ",".join(ORDER), "POLL_INTERVAL_S": "1", **PRICES}
        for name, server in self.servers.items():
            settings |= {f"{name.upper()}_API_URL": server.url, f"{name.upper()}_API_KEY": server.key}
        settings["STEMSPLIT_WEBHOOK_SECRET"] = self.servers["stemsplit"].secret
        own = {"SELFHOSTED_API_URL": self.deployment.provider.url, "SELFHOSTED_API_KEY": KEY}
        return settings | own

    async def gets(self, song: Path, *buttons: str) -> list[str]:
        """Have a song split; returns the names of its stems, which are all that its sender is shown."""
        person = self.deployment.person()  # each has their own limit of messages a minute
        sent = await person.sends(song)
        menu = await person.answer_to(sent)
        for label in buttons:
            await person.sees(lambda label=label: any(label in str(it["text"]) for it in menu.buttons))
            await person.presses(menu, label)
        menu = await person.shows(menu, "✅")
        shown = person.after(sent)
        assert [message for message in shown if message.kind != "audio"] == [menu]
        return [_stem(message) for message in shown if message.kind == "audio"]

    async def calls(self) -> list[CreateCall]:
        """The create calls of this story, by the ledger."""
        async with connect(self.deployment.redis_url) as redis:
            return [call async for call in CreateCalls(redis).since(self.began_at)]


def _stem(message: Message) -> str:
    """The stem's name, which a title has in brackets."""
    assert message.media
    return str(message.media["title"]).rpartition("(")[2].rstrip(")")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("providers")
    stem = mp3(folder / "stem.mp3")
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(ContractServer(name, stem).run()) for name in CONTRACTS
        }
        yield Stage(await stack.enter_async_context(open_deployment(folder)), servers)


@pytest_asyncio.fixture(loop_scope="module")
async def stage(shared_stage: Stage) -> AsyncIterator[Stage]:
    yield shared_stage
    await shared_stage.deployment.end()


async def test_a_task_that_failed_for_nothing_is_done_by_the_next_provider(stage: Stage) -> None:
    await stage.open()
    stemsplit, lalal = stage.servers["stemsplit"], stage.servers["lalal"]
    stemsplit.fault("create", "fails_refunded")
    assert await stage.gets(stage.deployment.song("Refunded"), VOCALS) == ["Vocals", "Instrumental"]
    assert [(call.provider, call.outcome) for call in await stage.calls()] == [
        ("stemsplit", REFUNDED),
        ("lalal", SUCCEEDED),
    ]
    assert (stemsplit.charged, lalal.charged) == ([], [lalal.task_id()])


@pytest.mark.parametrize("has_public_url", [True, False], ids=["callbacks", "polled"])
async def test_each_provider_delivers_when_those_before_it_have_no_credits(
    stage: Stage, has_public_url: bool
) -> None:
    await stage.open(has_public_url=has_public_url)
    stage.deployment.ordinary = ("used up",)  # the operator is told
    songs, stems = [], []
    for name in ORDER:
        songs.append(stage.deployment.song(f"{name} {has_public_url}"))
        stems.append(await stage.gets(songs[-1], ALL_STEMS))
        if server := stage.servers.get(name):
            server.fault("create", "no_credits")
    assert [set(found) for found in stems[:3]] == [SIX, GUITARS, SIX]
    assert len(stems[3]) == 2
    prices = zip(ORDER, (10, 6, 5, 0), strict=True)
    expected = [(name, price, outcome) for name, price in prices for outcome in (SUCCEEDED, REFUSED)][:-1]
    calls = await stage.calls()
    assert [(call.provider, call.price, call.outcome) for call in calls] == expected
    for song, server in zip(songs, stage.servers.values(), strict=False):
        assert server.charged == [server.task_id()]
        assert server.sources == [await anyio.Path(song).read_bytes()]
    assert len(stage.deployment.provider.creates) == 1


async def test_the_first_provider_that_can_isolates_an_instrument(stage: Stage) -> None:
    """StemSplit cannot; also without a public URL, since LALAL.AI is polled in any case."""
    await stage.open(has_public_url=False)
    song = stage.deployment.song("Bass alone")
    assert await stage.gets(song, "One instrument", "Bass") == ["Bass", "Without Bass"]
    assert [(call.provider, call.instrument) for call in await stage.calls()] == [("lalal", "Bass")]
    lalal = stage.servers["lalal"]
    assert lalal.charged == [lalal.task_id()]


@pytest.mark.parametrize("has_public_url", [False, True], ids=["polled", "callbacks"])
async def test_an_order_whose_answer_was_lost_is_paid_once(stage: Stage, has_public_url: bool) -> None:
    await stage.open(has_public_url=has_public_url)
    stemsplit = stage.servers["stemsplit"]
    stemsplit.honours_keys = False  # as its client's changelog says
    stemsplit.fault("create", "lost")
    song = stage.deployment.song(f"Lost {has_public_url}")
    assert await stage.gets(song, VOCALS) == ["Vocals", "Instrumental"]
    assert [(call.provider, call.outcome) for call in await stage.calls()] == [("stemsplit", SUCCEEDED)]
    assert stemsplit.charged == [stemsplit.task_id()]
    assert len(stemsplit.creates) == 1
