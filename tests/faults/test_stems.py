"""The server of the stems is broken, slow or endless, or it sends files that are no stems."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from fault_case import Case
from ledger import VOCALS
from provider import Provider
from starlette.responses import RedirectResponse, Response, StreamingResponse

pytestmark = pytest.mark.full

_CHUNK = b"\xff\xfb" + bytes(64 * 1024 - 2)
_MEGABYTE = 1024 * 1024
Odd = Callable[[Provider], Response]


async def _cut(stem: bytes) -> AsyncIterator[bytes]:
    yield stem[: len(stem) // 2]
    raise ConnectionError("as ordered")


async def _slowly(stem: bytes, pause_s: float) -> AsyncIterator[bytes]:
    for start in range(0, len(stem), 1024):
        yield stem[start : start + 1024]
        await asyncio.sleep(pause_s)


async def _much(size_bytes: float) -> AsyncIterator[bytes]:
    sent = 0
    while sent < size_bytes:
        yield _CHUNK
        await asyncio.sleep(0)  # else the loop never learns that the client has gone
        sent += len(_CHUNK)


def _broken_off(provider: Provider) -> Response:
    length = {"content-length": str(len(provider.stem))}
    return StreamingResponse(_cut(provider.stem), media_type="audio/mpeg", headers=length)


MISSING: dict[str, Odd] = {
    "404": lambda _: Response(status_code=404),
    "500": lambda _: Response(status_code=500),
    "broken off": _broken_off,
    "0 bytes": lambda _: Response(b"", media_type="audio/mpeg"),
    "a page of HTML": lambda _: Response("<html>sorry</html>", media_type="text/html"),
    "a page of HTML said to be MP3": lambda _: Response("<html>sorry</html>", media_type="audio/mpeg"),
    "redirects without end": lambda provider: RedirectResponse(provider.stem_url("vocal")),
    "redirect to an address of the inside": lambda _: RedirectResponse("http://127.0.0.1:6379/"),
}
TOO_BIG: dict[str, Odd] = {
    "over 50 MB": lambda _: Response(bytes(51 * _MEGABYTE), media_type="audio/mpeg"),
    "endless": lambda _: StreamingResponse(_much(float("inf")), media_type="audio/mpeg"),
}
FINE: dict[str, Odd] = {
    "at 8 kB/s": lambda provider: StreamingResponse(_slowly(provider.stem, 0.128), media_type="audio/mpeg"),
    "redirected": lambda provider: RedirectResponse(provider.stem_url("elsewhere")),
}


@pytest.mark.parametrize("name", MISSING)
async def test_a_stem_that_cannot_be_had_is_named_and_the_other_comes(case: Case, name: str) -> None:
    deployment, ledger = await case.open("up")
    deployment.provider.odd_stems["vocal"] = lambda: MISSING[name](deployment.provider)
    times = case.times(1, 5)
    await asyncio.gather(*(ledger.play(VOCALS, stems=1) for _ in range(times)))
    await ledger.over()
    for play in ledger.plays:
        assert "Could not be fetched: Vocals" in play.texts[-1].text
    case.healed()
    await case.settle(ledger, f"Stem: {name}", times)


@pytest.mark.parametrize("name", TOO_BIG)
async def test_a_stem_too_big_for_telegram_comes_as_a_link(case: Case, name: str) -> None:
    deployment, ledger = await case.open("up")
    deployment.provider.odd_stems["vocal"] = lambda: TOO_BIG[name](deployment.provider)
    times = case.times(1, 5)
    await asyncio.gather(*(ledger.play(VOCALS, stems=1) for _ in range(times)))
    await ledger.over()
    for play in ledger.plays:
        assert deployment.provider.stem_url("vocal") in play.texts[-1].text
    case.healed()
    await case.settle(ledger, f"Stem: {name}", times)


@pytest.mark.parametrize("name", FINE)
async def test_a_stem_that_takes_its_time_comes(case: Case, name: str) -> None:
    deployment, ledger = await case.open("up")
    deployment.provider.odd_stems["vocal"] = lambda: FINE[name](deployment.provider)
    times = case.times(1, 5)
    await asyncio.gather(*(ledger.play(VOCALS) for _ in range(times)))
    case.healed()
    await case.settle(ledger, f"Stem: {name}", times)


async def test_an_address_that_expired_before_it_was_fetched_is_asked_for_anew(case: Case) -> None:
    deployment, ledger = await case.open("up")
    provider = deployment.provider
    provider.odd_stems["vocal"] = lambda: Response(status_code=403)
    fresh = {"vocalUrl": provider.stem_url("fresh"), "instrumentalUrl": provider.stem_url("instrumental")}
    times = case.times(1, 5)
    for number in range(times):
        provider.details[f"task-{number + 1:04d}"] = {"successFlag": "SUCCESS", "response": fresh}
    await asyncio.gather(*(ledger.play(VOCALS) for _ in range(times)))
    case.healed()
    await case.settle(ledger, "Stem: its URL expired between callback and fetch", times)
    assert "fresh" in provider.stems_served
