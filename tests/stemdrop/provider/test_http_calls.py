"""What every provider's requests share: impossible hosts, and pauses that are asked for."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.environment.server import serve
from stemdrop.errors import AnswerLost, Unreachable
from stemdrop.http.clients import client_options
from stemdrop.http.proxies import DIRECT
from stemdrop.provider.http_calls import HttpCalls, retry_after_s

NOW = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT
LONG = f"{'a' * 64}.example"


@pytest.fixture
async def calls() -> AsyncIterator[HttpCalls]:
    async with httpx.AsyncClient(**client_options(DIRECT)) as http:
        yield HttpCalls(http, "the API")


@pytest.mark.parametrize("host", ["api..example", ".example", LONG, "xn--.example", "☃.example"])
async def test_an_impossible_host_is_unreachable(calls: HttpCalls, host: str) -> None:
    with pytest.raises(Unreachable):
        await calls.send("POST", f"https://{host}/create")


async def test_an_answer_that_leads_to_an_impossible_host_is_lost(calls: HttpCalls) -> None:
    """The request was sent, so it may have been accepted."""

    async def create(_: Request) -> Response:
        return Response(status_code=302, headers={"Location": "https://xn--.example/"})

    async with serve(Starlette(routes=[Route("/create", create, methods=["POST"])])) as url:
        with pytest.raises(AnswerLost):
            await calls.send("POST", f"{url}/create")


@pytest.mark.parametrize(
    ("value", "pause_s"),
    [
        *(("7", 7), (" 120 ", 120), ("0", 0), ("1.5", 1.5)),
        *(("Wed, 21 Oct 2015 07:28:30 GMT", 30), ("Wednesday, 21-Oct-15 07:28:30 GMT", 30)),
        ("Wed, 21 Oct 2015 09:28:30 +0200", 30),
        *(("Wed Oct 21 07:28:30 2015", 30), ("Wed, 21 Oct 2015 07:00:00 GMT", 0)),
        *(("", None), ("soon", None), ("-3", None), ("9" * 400, None), ("nan", None), ("٣", None)),
        *(("Wed, 99 Oct 2015 07:28:30 GMT", None), ("Wed, 21 Oct 99999999999 07:28:30 GMT", None)),
    ],
)
def test_a_pause_is_read_as_seconds_or_as_a_date(value: str, pause_s: float | None) -> None:
    assert retry_after_s({"retry-after": value}, lambda: NOW) == pause_s


def test_without_the_header_no_pause_is_asked_for() -> None:
    assert retry_after_s({}) is None
