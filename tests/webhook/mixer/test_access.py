"""Who may open which song in the mixer, and what everybody else gets."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
from deployment import until
from itsdangerous import TimestampSigner
from product import Product, new_job, result_of

from sandbox.environment.server import serve
from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import Job, JobState
from stemdrop.domain.peaks import encode_peaks
from stemdrop.domain.recipes import FASTEST
from stemdrop.domain.song_facts import SongFacts
from stemdrop.http.signed_links import MIXER_LIFETIME_S, MixerToken
from stemdrop.provider.sunoapi.answers import MAX_STEMS
from stemdrop.storage.stem_cache import CachedStems
from stemdrop.tasks.engine import Queue, Task
from webhook.app import create_app
from webhook.connection_limits import MAX_REQUESTS
from webhook.mixer import segments
from webhook.mixer.app import (
    MIXES_PER_MINUTE,
    OPENED_PER_MINUTE,
    SEGMENTS_AT_ONCE,
    SEGMENTS_IN_PROGRESS,
    SEGMENTS_PER_MINUTE,
)
from webhook.mixer.sample_grid import SEGMENT_S

from .conftest import Mixer, refusal

STRANGER = "7000000000:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
FORBIDDEN = (403, "forbidden")


async def test_the_owner_opens_a_song(mixer: Mixer, job: Job, alice: User) -> None:
    answer = await mixer.open(job, alice)
    assert answer.status_code == 200
    song = answer.json()
    assert (song["title"], song["segment_s"], song["expires_in_s"]) == ("Morning Line", 3, 3600)
    assert [(stem["key"], stem["name"]) for stem in song["stems"]] == [
        ("vocals", "Vocals"),
        ("instrumental", "Instrumental"),
    ]
    assert (song["language"], song["facts"], song["can_send"]) == ("en", None, True)
    assert song["duration_s"] == job.source.duration_s + 1
    token = mixer.product.links.read_mixer(song["token"])
    assert (token.job_id, token.user_id) == (job.id, alice.id)


def changed(signed: str, **fields: str) -> str:
    return urlencode({**dict(parse_qsl(signed)), **fields})


async def test_forged_and_old_data_is_refused(mixer: Mixer, job: Job, alice: User) -> None:
    valid = mixer.init_data(alice)
    forged = [
        mixer.init_data(alice, token=STRANGER),
        mixer.init_data(alice, age_s=24 * 3600 + 5),
        mixer.init_data(alice, age_s=-70),
        changed(valid, hash="0" * 64),
        changed(valid, hash="é"),
        changed(valid, hash=""),
        changed(valid, auth_date="9" * 20),
        changed(valid, user=json.dumps({"id": alice.id})),
        valid + "&start_param=x",
        valid + "&auth_date=1",
        valid.replace("hash=", "hush="),
        "&".join(f"a{number}=1" for number in range(100)),
        "\ud83c=1&hash=\ud83c",
        "x",
        "",
    ]
    for signed in forged:
        body = json.dumps({"init_data": signed, "job": job.id})
        assert refusal(await mixer.client.post("/mixer/open", content=body)) == FORBIDDEN, ascii(signed)
    assert (await mixer.open(job, alice, valid)).status_code == 200


async def test_data_without_a_user_is_refused(mixer: Mixer, job: Job, alice: User) -> None:
    told: dict[str, Any]

    class Nobody(User):
        def to_dict(self) -> dict[str, Any]:
            return told

    for told in ({}, {"id": "x"}, {"id": None}, {"id": [1]}, {"name": "Alice"}):
        assert refusal(await mixer.open(job, alice, mixer.init_data(Nobody(0, "")))) == FORBIDDEN, told


async def test_another_users_job_is_refused(mixer: Mixer, job: Job, mei: User) -> None:
    assert refusal(await mixer.open(job, mei)) == FORBIDDEN


async def test_a_job_that_is_gone_or_has_no_stems_is_said_so(
    mixer: Mixer, job: Job, alice: User, sent: Message
) -> None:
    waiting = await mixer.product.at(JobState.SEPARATING, sent)
    assert refusal(await mixer.open(waiting, alice)) == (404, "gone")
    token = await mixer.token(job, alice)
    await mixer.product.store.forget(job.id)
    assert refusal(await mixer.open(job, alice)) == (404, "gone")
    assert refusal(await mixer.segment(token, 0, 0)) == (404, "gone")
    assert refusal(await mixer.order(token)) == (404, "gone")


class TestInvited:
    """With `ACCESS=invite` only those who were let in, also later."""

    @pytest.fixture
    def product_options(self, alice: User) -> dict[str, Any]:
        return {"ACCESS": "invite", "ADMINS": "1"}

    async def test_a_stranger_is_refused(self, mixer: Mixer, job: Job, alice: User) -> None:
        assert refusal(await mixer.open(job, alice)) == FORBIDDEN
        await mixer.product.users.add(alice.id)
        token = await mixer.token(job, alice)
        await mixer.product.users.remove(alice.id)
        assert refusal(await mixer.order(token)) == FORBIDDEN
        assert refusal(await mixer.open(job, alice)) == FORBIDDEN


async def test_a_group_opens_the_job_that_all_of_it_may_use(
    mixer: Mixer, telegram: Telegram, alice: User, mei: User, sent: Message, stems: dict[str, bytes]
) -> None:
    group = telegram.add_group("Band", [alice, mei])
    product = mixer.product
    changes = {"chat_id": group.id, "user_id": 0, "account": group.id}
    result = result_of(dict.fromkeys(stems, "https://cdn.example/x.mp3"))
    job = await mixer.store(await product.at(JobState.DELIVERING, sent, result=result, **changes), stems)
    stranger = telegram.add_user("Eve")
    assert (await mixer.open(job, mei)).status_code == 200
    asked = len(telegram.calls)
    assert (await mixer.open(job, mei)).status_code == 200
    assert len(telegram.calls) == asked  # for a minute
    assert refusal(await mixer.open(job, stranger)) == FORBIDDEN
    telegram.faults.add(FaultKind.SERVER_ERROR, method="getChatMember", times=None)
    answer = await mixer.open(job, alice)
    assert refusal(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "5"
    telegram.faults.clear()
    await product.store.set(job.id, user_id=alice.id)
    assert refusal(await mixer.open(job, mei)) == FORBIDDEN


async def test_who_has_left_a_group_sends_no_mixes_to_it(
    mixer: Mixer, telegram: Telegram, alice: User, mei: User, sent: Message, stems: dict[str, bytes]
) -> None:
    """Nor anybody when the bot is out of it."""
    group = telegram.add_group("Band", [alice, mei])
    product = mixer.product
    result = result_of(dict.fromkeys(stems, "https://cdn.example/x.mp3"))
    changes = {"chat_id": group.id, "user_id": mei.id, "account": group.id, "result": result}
    job = await mixer.store(await product.at(JobState.DELIVERING, sent, **changes), stems)
    token = await mixer.token(job, mei)
    telegram.leave(group.id, mei.id)
    product.clock.advance(61)
    assert refusal(await mixer.order(token)) == FORBIDDEN
    assert refusal(await mixer.open(job, mei)) == FORBIDDEN
    telegram.join(group.id, mei.id)
    telegram.faults.add(FaultKind.BLOCKED, method="getChatMember")
    product.clock.advance(61)
    assert refusal(await mixer.open(job, mei)) == FORBIDDEN


async def test_a_token_opens_one_job_for_an_hour(
    mixer: Mixer, job: Job, alice: User, sent: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await mixer.token(job, alice)
    links = mixer.product.links
    forged = [
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        token.replace(job.id, new_job(sent).id),
        links.source_url(job.id, ".mp3").split("/")[-2],
        links.callback_url(job.id, alice.id).split("/")[-1],
        "x",
        "é",
        "x" * 3000,
    ]
    for other in forged:
        assert refusal(await mixer.segment(other, 0, 0)) == FORBIDDEN, other
        assert refusal(await mixer.order(other)) == FORBIDDEN, other
    assert (await mixer.segment(token, 1, 0)).status_code == 200
    now = TimestampSigner.get_timestamp
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: now(self) + MIXER_LIFETIME_S + 2)
    assert refusal(await mixer.segment(token, 1, 0)) == FORBIDDEN
    assert refusal(await mixer.order(token)) == FORBIDDEN


async def test_a_stems_number_never_means_another_stem(
    mixer: Mixer, job: Job, alice: User, tone: bytes
) -> None:
    token = await mixer.token(job, alice)
    keys = ("vocals", "instrumental", "drums")
    await mixer.product.store.set(job.id, result=result_of(dict.fromkeys(keys, "")))
    assert (await mixer.segment(token, 1, 0)).status_code == 200
    await mixer.store(job, {"drums": tone})
    assert refusal(await mixer.segment(token, 1, 0)) == (404, "gone")
    assert (await mixer.segment(await mixer.token(job, alice), 2, 0)).status_code == 200


async def test_each_kind_of_request_has_its_limit(mixer: Mixer, job: Job, alice: User, mei: User) -> None:
    for _ in range(OPENED_PER_MINUTE):
        token = await mixer.token(job, alice)
    answer = await mixer.open(job, alice)
    assert refusal(answer) == (429, "slow_down")
    assert 1 <= int(answer.headers["retry-after"]) <= 3
    assert refusal(await mixer.open(job, mei)) == FORBIDDEN  # her own limit
    for _ in range(MIXES_PER_MINUTE):
        assert (await mixer.order(token)).status_code == 202
    assert refusal(await mixer.order(token)) == (429, "slow_down")
    mixer.product.clock.advance(10)
    assert (await mixer.order(token)).status_code == 202


def test_the_limit_of_segments_lets_a_song_of_the_most_stems_play_at_its_fastest() -> None:
    assert MAX_STEMS * 60 / SEGMENT_S * FASTEST / 100 < SEGMENTS_PER_MINUTE


async def test_segments_that_are_waited_for_leave_room_for_callbacks(
    mixer: Mixer, job: Job, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user may wait for some at once, and all users together for half of what a webhook handles."""
    assert SEGMENTS_IN_PROGRESS <= MAX_REQUESTS / 2
    monkeypatch.setattr(segments, "SEGMENT_PATIENCE_S", 3600)
    mixer.product.telegram.faults.add(FaultKind.TIMEOUT_BEFORE, method="getFile", times=None)
    token = await mixer.token(job, alice)
    asked = [asyncio.create_task(mixer.segment(token, 0, 0)) for _ in range(SEGMENTS_AT_ONCE + 9)]
    await until(lambda: sum(task.done() for task in asked) == 9)
    for task in list(mixer.segments._making):
        task.cancel()
    answers = await asyncio.gather(*asked)
    assert Counter((*refusal(it), it.headers["retry-after"]) for it in answers) == {
        (429, "slow_down", "1"): 9,
        (503, "busy", "1"): SEGMENTS_AT_ONCE,
    }
    monkeypatch.setattr(segments, "SEGMENT_PATIENCE_S", 0.1)
    mixer.product.telegram.faults.add(FaultKind.TIMEOUT_BEFORE, method="getFile", times=None)
    answer = await mixer.segment(token, 1, 0)
    assert (*refusal(answer), answer.headers["retry-after"]) == (503, "busy", "2")


async def test_a_mix_is_ordered_once_for_each_wish(mixer: Mixer, job: Job, alice: User) -> None:
    token = await mixer.token(job, alice)
    gains = [["instrumental", -12], ["vocals", -96]]
    answers = await asyncio.gather(*(mixer.order(token, "abc", speed=80, gains=gains) for _ in range(5)))
    assert [(answer.status_code, answer.json()) for answer in answers] == [(202, {})] * 5
    (remix_id,) = await mixer.product.taken(Queue.RENDERS, Task.RENDER)
    remix = await mixer.product.remixes.get(remix_id)
    assert (remix.job_id, remix.user_id, remix.language) == (job.id, alice.id, "en")
    assert [(recipe.gains, recipe.speed) for recipe in remix.recipes] == [
        ((("instrumental", -12), ("vocals", -96)), 80)
    ]
    for number in range(20):
        answer = await mixer.order(token, str(number))
        if answer.status_code != 202:
            break
    assert refusal(answer) == (429, "too_many")
    assert number == 9


async def test_a_recipe_that_cannot_be_made_is_refused(mixer: Mixer, job: Job, alice: User) -> None:
    token = await mixer.token(job, alice)
    changes: list[dict[str, Any]] = [
        {"gains": [["drums", -96]]},
        {"gains": [["instrumental", -96], ["vocals", -96]]},
        {"gains": [["vocals", -96], ["instrumental", -12]]},
        {"gains": [["vocals", 99]]},
        {"gains": [["vocals"]]},
        {"gains": "vocals"},
        {"gains": None},
        {"speed": "80"},
        {"speed": 10},
        {"speed": True},
        {"semitones": 1.5},
        {"semitones": 7},
        {"has_count_in": 1},
        {"has_count_in": True},
        {"colour": "red"},
    ]
    for number, change in enumerate(changes):
        assert refusal(await mixer.order(token, str(number), **change)) == (422, "malformed"), change
    assert await mixer.product.taken(Queue.RENDERS, Task.RENDER) == []


async def test_a_song_is_measured_for_the_first_mixer_that_shows_it(
    mixer: Mixer, job: Job, alice: User
) -> None:
    assert job.result
    product, token = mixer.product, await mixer.token(job, alice)
    facts, peaks = SongFacts(104, None, "G major", -11), encode_peaks(bytes(range(50)) * 20)
    await product.stem_cache.put(job, CachedStems(job.result, (), facts))
    for _ in range(2):
        assert (await mixer.client.get(f"/mixer/measures/{token}")).status_code == 202
    assert await product.taken(Queue.RENDERS, Task.MEASURE) == [job.id]
    exact = SongFacts(104.1, 0.5, "G major", -11)
    await product.stem_cache.put_measures(job, exact, {"vocals": peaks})
    answer = (await mixer.client.get(f"/mixer/measures/{token}")).json()
    assert answer["facts"] == {"bpm": 104.1, "beat_s": 0.5, "key": "G major", "loudness": -11}
    assert [stem and len(stem) for stem in answer["peaks"]] == [1000, None]
    assert (await mixer.open(job, alice)).json()["facts"] == answer["facts"]
    assert refusal(await mixer.client.get("/mixer/measures/forged")) == FORBIDDEN


async def test_a_song_with_a_tempo_can_be_counted_in(mixer: Mixer, job: Job, alice: User) -> None:
    await mixer.product.store.set(job.id, facts=SongFacts(104, 0.5, "G major", -11))
    facts = (await mixer.open(job, alice)).json()["facts"]
    assert facts == {"bpm": 104, "beat_s": 0.5, "key": "G major", "loudness": -11}
    token = await mixer.token(job, alice)
    assert (await mixer.order(token, has_count_in=True)).status_code == 202


@pytest.mark.parametrize("path", ["open", "mixes"])
async def test_bodies_are_bounded_in_size(mixer: Mixer, path: str) -> None:
    async def post(content: Any) -> tuple[int, str]:
        return refusal(await mixer.client.post(f"/mixer/{path}", content=content))

    assert await post(b" " * (16 * 1024 + 1)) == (413, "too_large")
    for content in (b"", b"{", b"[]", b"1", b"[" * 9999, b"{}", b'{"token": 1, "init_data": 1}', b"\xff"):
        assert await post(content) == (422, "malformed")


@pytest.mark.parametrize("path", ["open", "mixes"])
async def test_bodies_are_bounded_in_time(mixer: Mixer, path: str, caplog: pytest.LogCaptureFixture) -> None:
    async def late() -> AsyncIterator[bytes]:
        yield b"{"
        await until(lambda: "did not arrive within 0.05 s" in caplog.text)

    app = create_app(mixer.product, segments=mixer.segments, body_timeout_s=0.05)
    async with serve(app) as url:
        answer = await mixer.client.post(f"{url}/mixer/{path}", content=late())
    assert refusal(answer) == (408, "too_slow")


async def test_while_redis_takes_no_writes_the_page_is_asked_to_come_again(
    mixer: Mixer, job: Job, alice: User
) -> None:
    token = await mixer.token(job, alice)
    await mixer.product.redis.config_set("maxmemory", 1)
    try:
        answers = (await mixer.open(job, alice), await mixer.segment(token, 0, 0), await mixer.order(token))
    finally:
        await mixer.product.redis.config_set("maxmemory", 0)
    for answer in answers:
        assert refusal(answer) == (503, "unavailable")
        assert answer.headers["retry-after"] == "5"


async def test_every_answer_has_the_strict_headers(mixer: Mixer, job: Job, alice: User) -> None:
    token = await mixer.token(job, alice)
    requests = [
        ("GET", "/mixer/"),
        ("GET", f"/mixer/segments/{token}/1/0.flac"),
        ("GET", "/mixer/segments/x/0/0.flac"),
        ("GET", "/mixer/nothing"),
        ("GET", "/mixer/open"),
        ("POST", "/mixer/open"),
        ("GET", "/mixer/static/..%2fapp.py"),
    ]
    statuses = []
    for method, path in requests:
        answer = await mixer.client.request(method, path)
        statuses.append(answer.status_code)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; "), path
        assert "frame-ancestors https://web.telegram.org https://*.telegram.org;" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "cache-control" in answer.headers
    assert statuses == [200, 200, 403, 404, 405, 422, 404]


async def test_the_page_is_served_with_its_version(mixer: Mixer) -> None:
    page = await mixer.client.get("/mixer/?job=x")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    again = await mixer.client.get("/mixer/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_no_answer_and_no_line_of_the_log_holds_the_token(
    mixer: Mixer, job: Job, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "webhook")
    signed = mixer.init_data(alice)
    token = (await mixer.open(job, alice, signed)).json()["token"]
    answers: list[httpx.Response] = [await mixer.open(job, alice, changed(signed, hash="0"))]
    mixer.product.telegram.faults.add(FaultKind.RESET_BEFORE, method="getFile")
    answers.append(await mixer.segment(token, 0, 0))
    texts = caplog.text + "".join(answer.text for answer in answers)
    for secret in (mixer.product.telegram.token, token, signed, dict(parse_qsl(signed))["hash"]):
        assert secret not in texts


def test_a_token_of_the_mixer_is_short(product: Product) -> None:
    token = product.links.mixer_token(MixerToken("0" * 16, 2**52, "0" * 8))
    assert len(token) < 140
