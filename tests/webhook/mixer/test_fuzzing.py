"""Arbitrary requests to the mixer: each gets a documented answer, never a server error."""

import asyncio
import json
from collections import Counter
from typing import Any
from urllib.parse import quote

import httpx
from fuzzing import JSON, SCALARS, TEXT, fuzzed, mostly
from hypothesis import given
from hypothesis import strategies as st
from product import Clock, Product

from sandbox.telegram.chats import User
from stemdrop.domain.jobs import Job
from webhook.app import create_app

from .conftest import Mixer

ANSWERS = {
    "open": {200, 403, 404, 422, 429},
    "mixes": {202, 403, 404, 422, 429},
    "segments": {200, 403, 404, 429, 503},
    "static": {200, 404},
}
GAINS = st.lists(st.tuples(mostly(st.sampled_from(["vocals", "instrumental"]), TEXT), SCALARS), max_size=3)
RECIPES = st.fixed_dictionaries(
    {"gains": mostly(GAINS, JSON)}, optional=dict.fromkeys(("speed", "semitones", "has_count_in"), SCALARS)
)
JUNK = st.binary(max_size=50) | st.sampled_from([b"[" * 9999, b"1" * 9999, b"\xff\xfe{", b"\x00"])
# else the path is another one
PARTS = TEXT.filter(lambda text: bool(text) and not {"/", "\n"} & set(text))
NUMBERS = mostly(st.sampled_from(["0", "1", "9999"]), PARTS)


def request_of(endpoint: str, valid: dict[str, str], data: st.DataObject) -> httpx.Request:
    def text(name: str) -> str:
        return str(data.draw(mostly(st.just(valid[name]), TEXT)))

    def quoted(part: str) -> str:
        return quote(part.encode(errors="surrogatepass"), safe="")

    url = "http://webhook/mixer/"
    if endpoint == "segments":
        stem, number = data.draw(NUMBERS), data.draw(NUMBERS)
        token = quoted(data.draw(mostly(st.just(valid["token"]), PARTS)))
        return httpx.Request("GET", f"{url}segments/{token}/{quoted(stem)}/{quoted(number)}.flac")
    if endpoint == "static":
        return httpx.Request("GET", f"{url}static/{quoted(data.draw(PARTS))}")
    body: Any = {"init_data": text("init_data"), "job": text("job")}
    if endpoint == "mixes":
        body = {"token": text("token"), "id": data.draw(SCALARS), "recipe": data.draw(mostly(RECIPES, JSON))}
    content = data.draw(mostly(st.just(json.dumps(body).encode()), JUNK))
    return httpx.Request("POST", url + endpoint, content=content)


async def fuzz(client: httpx.AsyncClient, clock: Clock, endpoint: str, valid: dict[str, str]) -> Counter[int]:
    """Send requests to an endpoint and check the answers; returns how often each status came."""
    loop = asyncio.get_running_loop()
    seen: Counter[int] = Counter()

    @fuzzed(20)
    @given(st.data())
    def hold(data: st.DataObject) -> None:
        request = request_of(endpoint, valid, data)
        clock.advance(3)  # so that not only the limits answer
        response = asyncio.run_coroutine_threadsafe(client.send(request), loop).result()
        seen[response.status_code] += 1
        assert response.status_code in ANSWERS[endpoint], response.text
        if response.status_code >= 400:
            assert response.json().keys() == {"error"}

    await asyncio.to_thread(hold)
    return seen


async def test_every_request_gets_a_documented_answer(
    mixer: Mixer, product: Product, job: Job, alice: User
) -> None:
    valid = {"token": await mixer.token(job, alice), "init_data": mixer.init_data(alice), "job": job.id}
    # an unexpected exception fails the test; it is not made into a status
    transport = httpx.ASGITransport(create_app(product, segments=mixer.segments), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport) as client:
        for endpoint in ANSWERS:
            assert max(await fuzz(client, product.clock, endpoint, valid)) >= 400, endpoint
