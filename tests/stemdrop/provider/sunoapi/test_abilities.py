"""What a provider can do: a table of paid hosts, our separator's answer, and what is known without one."""

import logging
from typing import Any

import httpx
import pytest
from fileserver import FileServer
from product import NOBODY, Product, open_product
from provider import KEY

from sandbox.telegram.app import run_telegram
from sandbox.telegram.person_actions import Telegram
from separator.reports import report_abilities
from stemdrop.domain.abilities import ALL, Abilities, Ability
from stemdrop.domain.jobs import CREDITS, INSTRUMENTS, Mode
from stemdrop.errors import BadContract
from stemdrop.provider.sunoapi.abilities import PATH, read_abilities
from stemdrop.provider.sunoapi.client import SeparationClient

STEMS = ("vocals", "drums", "bass", "other")
OWN = Abilities(
    {
        Mode.SEPARATE_VOCAL: Ability(0, ("vocals", "instrumental")),
        Mode.SPLIT_STEM: Ability(0, STEMS),
        Mode.SPLIT_STEM_ADVANCED: Ability(0, (), ("Lead Vocal", "Drum Kit", "Bass")),
    },
    engine="spleeter",
    formats=("mp3", "flac", "wav"),
)


def answer(**changes: Any) -> dict[str, Any]:
    data = report_abilities("spleeter", STEMS, {})
    return {**data, "modes": {**data["modes"], **changes}}


def test_our_separators_answer_is_read() -> None:
    read = read_abilities(answer())
    assert read == OWN == Abilities.from_json(read.to_json())
    assert read.is_free
    assert [name for name in INSTRUMENTS if read.can(Mode.SPLIT_STEM_ADVANCED, name)] == [
        *("Lead Vocal", "Drum Kit", "Bass")
    ]


def test_an_engine_with_other_abilities_is_read() -> None:
    """A mode that is absent cannot be ordered; names that have no button are left out."""
    one = {"credits": 7, "stemNames": ["Organ", "Kazoo", "Piano"], "added": 1}
    read = read_abilities({"modes": {"split_stem_advanced": one, "karaoke": {}}})
    assert read.modes == {Mode.SPLIT_STEM_ADVANCED: Ability(7, (), ("Piano", "Organ"))}
    assert not read.can(Mode.SPLIT_STEM)
    assert not read.can(Mode.SPLIT_STEM_ADVANCED, "Bass")
    assert (read.price(Mode.SPLIT_STEM_ADVANCED), read.price(Mode.SPLIT_STEM), read.is_free) == (7, 0, False)


def test_a_wanted_format_is_taken_where_the_provider_has_it() -> None:
    read = read_abilities({**answer(), "formats": ["wav", "ogg", "flac"]})
    assert read.formats == ("wav", "flac")
    assert [read.file_format(wanted) for wanted in ("flac", "mp3", "")] == ["flac", "wav", "wav"]
    assert ALL.file_format("flac") == ""


@pytest.mark.parametrize("engine", [None, 1, ["light"], "", "two\nlines", "x" * 31])
def test_an_engine_without_a_plain_name_is_not_named(engine: object) -> None:
    assert read_abilities({**answer(), "engine": engine}).engine == ""


@pytest.mark.parametrize(
    "data",
    [
        *(None, [], "x", {}, {"modes": None}, {"modes": {}}, {"modes": {"karaoke": {}}}, {"modes": []}),
        *(
            answer(split_stem=value)
            for value in (None, list[object](), {}, {"credits": True}, {"credits": -1})
        ),
        *(answer(split_stem={"credits": value}) for value in ("0", 0.5, 10**9)),
        *(answer(split_stem={"credits": 0, "stems": value}) for value in ("x", {"a": 1}, [1], [""], ["\n"])),
        answer(split_stem={"credits": 0, "stems": ["x"] * 65}),
    ],
)
def test_another_answer_breaks_the_contract(data: object) -> None:
    with pytest.raises(BadContract):
        read_abilities(data)


def test_the_table_of_the_paid_hosts_has_their_prices() -> None:
    assert {mode: ALL.price(mode) for mode in Mode} == CREDITS
    assert all(ALL.can(Mode.SPLIT_STEM_ADVANCED, name) for name in INSTRUMENTS)
    assert not ALL.is_free


@pytest.mark.parametrize("host", ["api.sunoapi.org", "api.kie.ai"])
async def test_a_paid_host_is_not_asked(host: str) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda request: pytest.fail("asked"))) as http:
        assert await SeparationClient(http, f"https://{host}", "", KEY).abilities() == ALL


@pytest.fixture
def product_options(files: FileServer) -> dict[str, Any]:
    """The separation API is the file server of the stems."""
    return {"api_url": files.url}


async def test_the_last_answer_holds_while_the_provider_is_away(
    product: Product, files: FileServer, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert await product.abilities.get() == ALL
    known = b'{"code": 200, "data": {"modes": {"separate_vocal": {"credits": 0}}}}'
    path = PATH.removeprefix("/")
    files.put(path, known, media_type="application/json")
    await product.abilities_refresh.run()
    for status, body in ((502, b"<html>"), (200, b'{"code": 200, "data": {}}'), (200, b'{"code": 401}')):
        files.put(path, body, status=status)
        for _ in range(3):
            await product.abilities_refresh.run()
        assert (await product.abilities.get()).modes == {Mode.SEPARATE_VOCAL: Ability()}
    assert caplog.text.count("are as before") == 3  # each reason once
    # a host that does not know the question, as an older separator
    files.put(path, b"no", status=404)
    await product.abilities_refresh.run()
    assert await product.abilities.get() == ALL


async def test_a_provider_that_cannot_be_reached_does_not_stop_the_start(
    redis_url: str, telegram: Telegram
) -> None:
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, api_url=NOBODY) as product,
    ):
        await product.abilities_refresh.run()
        assert await product.abilities.get() == ALL
